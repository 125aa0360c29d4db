"""Evaluation: a bundle's results compared with labels of images that it was not fitted on."""
