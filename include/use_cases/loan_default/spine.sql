SELECT
  application_id,
  national_id,
  sex,
  age_group,
  as_of AS decision_time,
  as_of
FROM loan_applications_new
