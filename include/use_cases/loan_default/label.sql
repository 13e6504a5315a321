SELECT
  spine.row_id,
  CASE WHEN max(repayments_after.days_past_due) >= 90 THEN 1 ELSE 0 END AS label,
  coalesce(bool_or(repayments_after.status = 'granted'), false)
    AND NOT coalesce(bool_or(repayments_after.status = 'cancelled'), false) AS is_granted
FROM spine
LEFT JOIN repayments_after ON repayments_after.row_id = spine.row_id
GROUP BY spine.row_id
