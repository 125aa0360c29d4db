"""Passline's service: images of manufactured surfaces in, verdicts out."""

import os

# ONNX Runtime sends telemetry from its first import on; only this variable disables it early enough.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
