"""The parts of embed.py: the features of patches, and the bags of them in files."""
