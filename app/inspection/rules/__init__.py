"""Recipes and their limits; the verdict."""
