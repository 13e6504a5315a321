SELECT
  spine.row_id,
  trip_completions_after.duration_minutes AS label
FROM spine
LEFT JOIN trip_completions_after ON trip_completions_after.row_id = spine.row_id
