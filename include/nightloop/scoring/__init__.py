"""Batch scoring with ONNX, and who scores which night. Where scores go is not known here."""
