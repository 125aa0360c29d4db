"""The benchmarks; the core comes first, since it switches ONNX Runtime's telemetry off before its import."""

import app.inspection  # noqa: F401
