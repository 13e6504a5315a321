SELECT
  spine.row_id,
  loan_applications.loan_amount_usd,
  loan_applications.annual_income_usd,
  try_divide(loan_applications.loan_amount_usd, loan_applications.annual_income_usd) AS loan_to_income_ratio,
  try_divide(
    12 * loan_applications.loan_amount_usd / loan_applications.term_months,
    loan_applications.annual_income_usd
  ) AS payment_to_income_ratio,
  loan_applications.term_months,
  loan_applications.employment_years,
  bureau_records.bureau_score,
  bureau_records.open_accounts,
  bureau_records.delinquencies_2y,
  bureau_records.inquiries_6m,
  bureau_records.utilisation_ratio,
  bureau_records.oldest_account_months,
  CASE WHEN bureau_records.national_id IS NULL THEN 0 ELSE 1 END AS has_bureau_record,
  loan_applications.product,
  loan_applications.housing,
  loan_applications.purpose,
  loan_applications.channel
FROM spine
LEFT JOIN loan_applications ON loan_applications.row_id = spine.row_id
LEFT JOIN bureau_records ON bureau_records.row_id = spine.row_id
