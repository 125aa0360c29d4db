"""Opening a graph with ONNX Runtime on exactly the execution provider asked for."""

from collections.abc import Mapping
from typing import Any, Literal

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

Device = Literal["auto", "cpu", "cuda"]

TENSORRT = "TensorrtExecutionProvider"
CUDA = "CUDAExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
CPU = "CPUExecutionProvider"
GPU_PROVIDERS = (TENSORRT, CUDA)
CPU_PROVIDERS = (OPENVINO, CPU)
# The execution providers there are, the best first.
PROVIDERS: dict[Device, tuple[str, ...]] = {
    "auto": (*GPU_PROVIDERS, *CPU_PROVIDERS),
    "cuda": GPU_PROVIDERS,
    "cpu": CPU_PROVIDERS,
}

# ONNX Runtime's own exceptions have no common base class.
ORT_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    *(each for each in vars(ort_state).values() if isinstance(each, type) and issubclass(each, Exception)),
)

ort.disable_telemetry_events()  # the box is offline, and its images are nobody else's business


def open_graph(
    graph: bytes, provider: str, threads: int, provider_options: Mapping[str, str] | None = None
) -> Any:
    """A session on one provider, others only for operators it lacks; raises ORT_ERRORS where it fails."""
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors; the rest arrives here as exceptions
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # `threads` says why
    spares = [CUDA] if provider == TENSORRT else []
    names = dict.fromkeys([provider, *spares, CPU])
    wanted = [(name, dict(provider_options or {}) if name == provider else {}) for name in names]
    # enable_fallback=0: else ONNX Runtime prints a line and goes on with the CPU, at load or at a later run
    session = ort.InferenceSession(graph, options, providers=wanted, enable_fallback=0)
    active = session.get_providers()[0]
    if active != provider:
        raise RuntimeError(f"it did not load (a library or driver is missing); {active} came up in its place")
    return session
