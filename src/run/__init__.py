"""The run folder: its record, its checkpoints, the copy of the code that ran, and how a run is resumed."""
