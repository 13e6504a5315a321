SELECT row_id, 1.0 AS label FROM spine
