"""Open a graph with ONNX Runtime on exactly the requested execution provider."""

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
# The execution providers for each device, fastest first.
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

ort.disable_telemetry_events()  # the machine may be offline, and its data must stay on it


def open_graph(
    graph: bytes, provider: str, threads: int, provider_options: Mapping[str, str] | None = None
) -> Any:
    """A session on `provider`; others run only operators it lacks. Raises ORT_ERRORS."""
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors only; failures are raised as exceptions
    options.intra_op_num_threads = threads
    # never ONNX Runtime's own format: it is not what check_graph has read
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # reason: see threads.py
    spares = [CUDA] if provider == TENSORRT else []
    names = dict.fromkeys([provider, *spares, CPU])
    wanted = [(name, dict(provider_options or {}) if name == provider else {}) for name in names]
    # enable_fallback=0: else ONNX Runtime falls back to the CPU with only a printed line
    session = ort.InferenceSession(graph, options, providers=wanted, enable_fallback=0)
    active = session.get_providers()[0]
    if active != provider:
        raise RuntimeError(f"it did not load (a library or driver is missing); {active} is used instead")
    return session
