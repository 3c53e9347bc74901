"""Loggers: what Lightning's own lack, and a guard that keeps them from disturbing the training."""
