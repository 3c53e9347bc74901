"""What predict.py is made of: probabilities by a network, and a table of them."""
