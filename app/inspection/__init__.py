"""The core: decode a picture, run the bundle's model, measure the defects, judge them. No web, no torch."""
