"""Selections: which patches of an image a network looks at."""
