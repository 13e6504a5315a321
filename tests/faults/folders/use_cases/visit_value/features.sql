SELECT spine.row_id, visits.guests, hour(visits.visit_time) AS hour_of_day, visits.discount, visits.place
FROM spine
LEFT JOIN visits ON visits.row_id = spine.row_id
