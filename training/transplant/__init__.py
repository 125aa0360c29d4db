"""Defects transplanted onto good images, and a filter that keeps those that look real."""
