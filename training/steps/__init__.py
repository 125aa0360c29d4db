"""The steps of a run: each writes into its folder, and is skipped when its result is there."""
