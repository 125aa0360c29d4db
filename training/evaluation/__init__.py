"""Evaluation: a bundle, run through the inspection core, compared with labels it has never seen."""
