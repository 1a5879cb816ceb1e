"""The network for other programs: what they need in order to compute the same integers."""
