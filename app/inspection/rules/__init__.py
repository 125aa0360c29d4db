"""Recipes with their limits, and the verdict."""
