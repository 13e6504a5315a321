"""Batch scoring with ONNX, and decisions on scores. Who is champion says the ledger, where scores go the job."""
