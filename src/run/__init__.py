"""The run folder: its record, its checkpoints, the copy of the code that ran, and the resumption of a run."""
