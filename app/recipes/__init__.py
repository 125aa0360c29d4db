"""Recipes and their versions: which one is active, and every one that was."""
