"""Tiling, ONNX Runtime sessions, batching and devices."""
