"""Offline training: from labelled pictures to a published bundle."""

import app.inspection  # noqa: F401  # switches ONNX Runtime's telemetry off before anything imports it
