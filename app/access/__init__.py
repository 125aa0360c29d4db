"""Who may come in: keys, limits on how often a caller may ask."""
