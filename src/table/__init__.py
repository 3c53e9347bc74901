"""Tables of runs: reading, choosing, grouping and printing for report.py. Without torch and Hydra, to start at once."""
