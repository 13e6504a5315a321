SELECT visit_id, visit_time, guests, discount, place, is_cancelled
FROM raw
