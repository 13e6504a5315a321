SELECT
  loan_id,
  issue_d,
  loan_amnt,
  term,
  CASE
    WHEN emp_length LIKE '<%' THEN 0
    ELSE try_cast(regexp_extract(emp_length, '([0-9]+)', 1) AS DOUBLE)
  END AS employment_years,
  home_ownership,
  annual_inc,
  verification_status,
  purpose,
  zip_code,
  addr_state,
  dti,
  delinq_2yrs,
  earliest_cr_line,
  inq_last_6mths,
  mths_since_last_delinq,
  mths_since_last_record,
  open_acc,
  pub_rec,
  revol_bal,
  revol_util,
  total_acc,
  pub_rec_bankruptcies
FROM raw
