SELECT spine.row_id, bills_after.amount AS label
FROM spine
LEFT JOIN bills_after ON bills_after.row_id = spine.row_id
