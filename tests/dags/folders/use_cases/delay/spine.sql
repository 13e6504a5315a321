SELECT id, as_of AS decision_time FROM bookings_new
