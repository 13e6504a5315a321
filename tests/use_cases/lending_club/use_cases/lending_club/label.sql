SELECT
  spine.row_id,
  CASE WHEN max(CASE WHEN lc_outcomes_after.status = 'Charged Off' THEN 1 ELSE 0 END) = 1 THEN 1 ELSE 0 END AS label
FROM spine
LEFT JOIN lc_outcomes_after ON lc_outcomes_after.row_id = spine.row_id
GROUP BY spine.row_id
