"""Keras layers of the three papers: weights and one call into `ops`."""
