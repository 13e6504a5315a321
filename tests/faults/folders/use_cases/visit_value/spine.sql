SELECT visit_id, as_of AS decision_time, as_of
FROM visits
WHERE visit_time > as_of AND visit_time <= as_of + INTERVAL 1 DAY
