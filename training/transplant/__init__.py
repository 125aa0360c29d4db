"""Defects transplanted onto the customer's own good images, kept where they look like real ones."""
