"""The inspection core: a picture in, a mask, measured defects and a verdict out; knows nothing of the web."""

import os

# ONNX Runtime reports to its maker from its first import on; only this variable stops that early enough.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
