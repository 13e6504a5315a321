SELECT
  spine.row_id,
  nyc_trips_after.duration_minutes AS label
FROM spine
LEFT JOIN nyc_trips_after ON nyc_trips_after.row_id = spine.row_id
