SELECT
  spine.row_id,
  trips.trip_distance,
  hour(trips.pickup_datetime) + minute(trips.pickup_datetime) / 60.0 AS hour_of_day,
  CASE WHEN dayofweek(trips.pickup_datetime) IN (1, 7) THEN 1 ELSE 0 END AS is_weekend,
  trips.passenger_count,
  weather.temperature_c,
  weather.precipitation_mm,
  weather.wind_kph,
  (unix_micros(trips.pickup_datetime) - unix_micros(trips.booked_at)) / 3600e6 AS lead_hours,
  CAST(trips.pickup_location_id AS STRING) AS pickup_zone,
  CAST(trips.dropoff_location_id AS STRING) AS dropoff_zone,
  trips.pickup_borough,
  trips.dropoff_borough,
  trips.payment_type
FROM spine
LEFT JOIN trips ON trips.row_id = spine.row_id
LEFT JOIN weather ON weather.row_id = spine.row_id
