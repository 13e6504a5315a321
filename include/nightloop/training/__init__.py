"""Recipes, encoders and distributed training."""
