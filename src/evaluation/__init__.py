"""The parts of evaluate.py: which runs it measures, and how it measures several of them in one process."""
