"""Callbacks that draw: pictures and tables of the data, the layers and the mistakes of a network."""
