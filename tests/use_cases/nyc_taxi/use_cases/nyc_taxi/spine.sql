SELECT
  trip_id,
  pickup_datetime AS decision_time,
  as_of
FROM nyc_requests_new
WHERE pickup_datetime <= as_of
  AND pickup_datetime > as_of - INTERVAL 62 DAYS
