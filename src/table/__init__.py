"""Tables of runs: what report.py reads, chooses, groups and prints. No torch, no Hydra: it starts at once."""
