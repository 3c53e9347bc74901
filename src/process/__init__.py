"""One process among others: signals, ranks, files, secrets, errors, terminal. Knows neither Hydra nor run folders."""
