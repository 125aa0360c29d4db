"""Readers of what annotation tools export, and the writer that turns it into COCO instances."""
