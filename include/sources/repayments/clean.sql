SELECT
  application_id,
  CAST(status_date AS TIMESTAMP) AS status_time,
  lower(status) AS status,
  coalesce(days_past_due, 0) AS days_past_due,
  balance_usd
FROM raw
