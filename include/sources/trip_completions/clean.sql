SELECT
  trip_id,
  pickup_datetime,
  dropoff_datetime,
  (unix_micros(dropoff_datetime) - unix_micros(pickup_datetime)) / 60e6 AS duration_minutes,
  fare_amount
FROM raw
