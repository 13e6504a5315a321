SELECT
  loan_id,
  as_of AS decision_time,
  as_of
FROM lc_applications_new
