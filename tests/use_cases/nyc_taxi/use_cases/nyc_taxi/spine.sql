SELECT
  trip_id,
  pickup_datetime AS decision_time,
  as_of
FROM nyc_requests_new
WHERE known_at = pickup_datetime
