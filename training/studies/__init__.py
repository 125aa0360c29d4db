"""Studies: cross-validation, comparison of strategies, learning curve."""
