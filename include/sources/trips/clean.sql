SELECT
  trip_id,
  booked_at,
  pickup_datetime,
  date_trunc('HOUR', pickup_datetime) AS pickup_hour,
  pickup_location_id,
  dropoff_location_id,
  pickup_borough,
  dropoff_borough,
  trip_distance,
  passenger_count,
  lower(payment_type) AS payment_type,
  coalesce(is_cancelled, false) AS is_cancelled
FROM raw
