"""Recipes, their activations, and the history of both."""
