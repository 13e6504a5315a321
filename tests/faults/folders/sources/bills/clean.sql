SELECT visit_id, paid_at, amount
FROM raw
