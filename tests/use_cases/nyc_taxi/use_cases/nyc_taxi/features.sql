SELECT
  spine.row_id,
  nyc_requests.trip_distance,
  hour(nyc_requests.pickup_datetime) + minute(nyc_requests.pickup_datetime) / 60.0 AS hour_of_day,
  dayofweek(nyc_requests.pickup_datetime) AS day_of_week,
  nyc_requests.passenger_count,
  nyc_requests.pickup_location_id,
  nyc_requests.dropoff_location_id,
  CAST(CAST(nyc_requests.rate_code_id AS INT) AS STRING) AS rate_code
FROM spine
LEFT JOIN nyc_requests ON nyc_requests.row_id = spine.row_id
