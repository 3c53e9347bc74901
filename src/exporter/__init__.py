"""Trained networks as files for other programs: what goes in and comes out, the formats, and the check of both."""
