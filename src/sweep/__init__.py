"""Sweeps: their plan, the copy of the code, their workers and their progress. Hydra calls callback.py."""
