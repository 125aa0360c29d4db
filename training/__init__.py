"""Offline training: from labelled pictures to a published bundle."""
