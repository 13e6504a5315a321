"""Recipes, encoders, families, distributed training, ONNX export. Who may score is decided by `evaluation`."""
