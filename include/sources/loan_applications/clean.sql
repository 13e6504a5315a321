SELECT
  application_id,
  applied_at,
  national_id,
  email,
  postcode AS postcode_area,
  sex,
  age_group,
  product,
  term_months,
  loan_amount_usd,
  annual_income_usd,
  employment_years,
  lower(housing) AS housing,
  lower(purpose) AS purpose,
  lower(channel) AS channel
FROM raw
