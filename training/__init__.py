"""Offline training: from labelled images to a published bundle."""

import app  # noqa: F401  # switches ONNX Runtime's telemetry off before anything imports it
