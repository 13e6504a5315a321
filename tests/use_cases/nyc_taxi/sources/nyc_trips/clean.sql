SELECT
  sha2(
    concat_ws(
      '|',
      CAST(vendor_id AS STRING),
      CAST(pickup_datetime AS STRING),
      CAST(dropoff_datetime AS STRING),
      CAST(pickup_location_id AS STRING),
      CAST(dropoff_location_id AS STRING),
      CAST(total_amount AS STRING)
    ),
    256
  ) AS trip_id,
  dropoff_datetime,
  (unix_micros(dropoff_datetime) - unix_micros(pickup_datetime)) / 60e6 AS duration_minutes
FROM raw
