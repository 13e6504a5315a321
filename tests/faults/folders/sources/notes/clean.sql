SELECT note_id, stars
FROM raw
