SELECT
  national_id,
  reported_at,
  bureau_score,
  open_accounts,
  delinquencies_2y,
  inquiries_6m,
  utilisation_ratio,
  oldest_account_months,
  coalesce(is_withdrawn, false) AS is_withdrawn
FROM raw
