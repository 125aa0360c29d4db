"""Passline's service: pictures of manufactured surfaces in, verdicts out."""
