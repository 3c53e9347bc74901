"""What new_project.py does: a clean copy of the repository, under another name."""
