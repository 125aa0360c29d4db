"""Passline's service: images of manufactured surfaces in, verdicts out."""

import os

# ONNX Runtime reports to its maker from its first import on; only this variable stops that early enough.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
