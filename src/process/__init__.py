"""One process among others: signals, ranks, GPUs, files, secrets, errors, terminal; no Hydra and no run folders."""
