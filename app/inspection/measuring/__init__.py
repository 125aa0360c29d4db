"""Probabilities to a mask, and the mask to measured defects."""
