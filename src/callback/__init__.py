"""Callbacks that change or watch a training; those that draw are in figure/."""
