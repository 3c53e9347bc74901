"""Sweeps: their snapshot, their jobs wherever these run, what is said of them. Hydra calls callback.py."""
