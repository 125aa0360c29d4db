"""Defects transplanted onto the customer's own good pictures, kept where they look like real ones."""
