"""The float and the fake-quantized form of the network, its training and its conversion."""
