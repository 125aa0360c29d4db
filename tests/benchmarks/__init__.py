"""The benchmarks; `app` comes first, since it switches ONNX Runtime's telemetry off before its import."""

import app  # noqa: F401
