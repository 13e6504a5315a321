SELECT
  trip_id,
  pickup_borough,
  pickup_hour,
  as_of AS decision_time,
  as_of
FROM trips
WHERE pickup_datetime > as_of
  AND pickup_datetime <= as_of + INTERVAL 1 DAY
