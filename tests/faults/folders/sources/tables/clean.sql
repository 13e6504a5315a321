SELECT table_id, seats, since
FROM raw
