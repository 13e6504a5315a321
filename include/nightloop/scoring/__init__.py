"""Batch scoring with ONNX."""
