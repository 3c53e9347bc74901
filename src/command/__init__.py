"""From the shell to objects: the command line, the settings, Hydra's start, one job. Knows Hydra."""
