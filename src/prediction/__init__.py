"""The parts of predict.py: the predictions of a network for images, and the table of them."""
