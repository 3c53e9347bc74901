"""The parts of predict.py: the probabilities of images by a network, and the table of them."""
