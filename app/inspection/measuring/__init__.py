"""From probabilities to a mask, and from the mask to measured defects."""
