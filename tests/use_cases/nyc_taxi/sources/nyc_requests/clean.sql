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
  pickup_datetime,
  passenger_count,
  trip_distance,
  rate_code_id,
  pickup_location_id,
  dropoff_location_id
FROM raw
