SELECT
  loan_id,
  CAST(last_day(outcome_d) AS TIMESTAMP) AS outcome_time,
  status
FROM raw
