SELECT row_id, 1.0 AS distance FROM spine
