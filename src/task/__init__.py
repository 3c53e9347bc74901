"""Tasks: what is asked of each item. Loss, metrics, and what a prediction looks like depend on the task alone."""
