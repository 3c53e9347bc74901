"""The parts of new_project.py: a clean copy of the repository under another name."""
