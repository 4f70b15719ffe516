"""Layers and models compute the same on every backend as the float64 reference."""
