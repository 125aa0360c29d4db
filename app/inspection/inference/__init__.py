"""Tiles, ONNX Runtime sessions, batching, devices."""
