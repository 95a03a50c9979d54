"""PyTorch modules that compute in floating point: planes, transform, networks, quantizer and prior."""
