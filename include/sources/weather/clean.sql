SELECT
  place,
  forecast_hour,
  issued_at,
  temperature_c,
  precipitation_mm,
  wind_kph
FROM raw
