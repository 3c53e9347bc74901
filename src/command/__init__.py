"""Everything between the shell and objects: arguments, hints, Hydra's start, one job. Knows Hydra."""
