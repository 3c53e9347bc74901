"""The export of trained networks for other programs: the inputs, the formats, and the check of each file."""
