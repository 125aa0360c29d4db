"""Evaluation: a bundle, run through the inspection core, held against labels it has never seen."""
