"""Lossless CRNN to spiking network conversion, and a collision avoidance node around it."""

__version__ = "0.1.0"
