"""The steps of a run: each writes into the run's folder and is skipped if its result exists."""
