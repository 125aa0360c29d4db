"""Running a bundle's graph with ONNX Runtime, on a device that is known and never silently another one."""

import logging
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from app.inspection.bundle import Artifact, Bundle
from app.inspection.errors import BundleInvalid, DeviceUnavailable, InferenceFailed

logger = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]

GPU_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider")
CPU_PROVIDERS = ("OpenVINOExecutionProvider", "CPUExecutionProvider")
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

ort.disable_telemetry_events()  # the box is offline, and its pictures are nobody else's business


class Session:
    """One artifact of a bundle, loaded and checked; safe to share between threads.

    `execution_provider` is the one really active, `artifact` the graph it runs.
    """

    def __init__(
        self, bundle: Bundle, device: Device = "auto", threads: int | None = None, max_batch: int = 8
    ) -> None:
        """Load the first provider of the device that works, in the order TensorRT, CUDA, OpenVINO, CPU.

        `threads` is the number of CPU threads one run may use (None: all). Raises DeviceUnavailable where no
        provider of the device works, and BundleInvalid where the graph breaks the contract.
        """
        self._max_batch = max_batch
        self._mask_shape = (len(bundle.classes), bundle.input.tile_height, bundle.input.tile_width)
        self._session, self.artifact = _load(bundle, device, threads)
        self.execution_provider: str = self._session.get_providers()[0]
        _check_graph(self._session, bundle)

    def run(
        self, tiles: NDArray[np.uint8], check: Callable[[], None] = lambda: None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Run tiles, uint8 [N, h, w, C], at most `max_batch` at a time, calling `check` before each batch.

        Gives mask_probability uint8 [N, K, h, w] and image_probability float32 [N]. Raises InferenceFailed,
        and what `check` raises.
        """
        masks = np.empty((len(tiles), *self._mask_shape), dtype=np.uint8)
        heads = np.empty(len(tiles), dtype=np.float32)
        for start in range(0, len(tiles), self._max_batch):
            check()
            part = slice(start, start + self._max_batch)
            try:
                mask, head = self._session.run(
                    ["mask_probability", "image_probability"], {"pixels": tiles[part]}
                )
            except ORT_ERRORS as error:
                raise InferenceFailed(
                    f"{self.execution_provider} failed to run the model: {error}"
                ) from error
            if mask.shape != masks[part].shape or head.shape != heads[part].shape:
                raise InferenceFailed("the model did not give one answer for each tile")
            masks[part], heads[part] = mask, head
        # a NaN is below every threshold and above none: it would pass the part
        if not np.all((heads >= 0) & (heads <= 1)):
            raise InferenceFailed("the model gave an image_probability that is not between 0 and 1")
        return masks, heads


def _load(bundle: Bundle, device: Device, threads: int | None) -> tuple[Any, Artifact]:
    installed = ort.get_available_providers()
    if device != "cpu" and "CUDAExecutionProvider" in installed:
        ort.preload_dlls()  # finds the CUDA and cuDNN libraries that came as Python packages
    refusals = []
    for provider in PROVIDERS[device]:
        artifact = next((each for each in bundle.artifacts if provider in each.providers), None)
        if provider not in installed:
            refusals.append(f"{provider} is not in this build of ONNX Runtime")
        elif artifact is None:
            refusals.append(f"{provider} is meant for none of the bundle's artifacts")
        else:
            try:
                return _create(bundle.read(artifact.file), provider, threads), artifact
            except ORT_ERRORS as error:
                if provider == "CPUExecutionProvider":  # it is always there, so the graph is at fault
                    raise BundleInvalid(f"{artifact.file} cannot be loaded: {error}") from error
                refusals.append(f"{provider} could not be used with {artifact.file}: {error}")
                logger.warning("%s", refusals[-1])
    raise DeviceUnavailable(f"device {device!r} cannot be used: {'; '.join(refusals)}")


def _create(graph: bytes, provider: str, threads: int | None) -> Any:
    """A session on one provider, others only for operators it lacks; raises if it does not come up."""
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors; the rest arrives here as exceptions
    if threads is not None:
        options.intra_op_num_threads = threads
    spares = ["CUDAExecutionProvider"] if provider == "TensorrtExecutionProvider" else []
    wanted = list(dict.fromkeys([provider, *spares, "CPUExecutionProvider"]))
    # enable_fallback=0: else ONNX Runtime prints a line and goes on with the CPU, at load or at a later run
    session = ort.InferenceSession(graph, options, providers=wanted, enable_fallback=0)
    active = session.get_providers()[0]
    if active != provider:
        raise RuntimeError(f"it did not load (a library or driver is missing); {active} came up in its place")
    return session


def _check_graph(session: Any, bundle: Bundle) -> None:
    """Raise BundleInvalid unless the graph's names, types and shapes are those of `bundle.json`."""
    contract, k = bundle.input, len(bundle.classes)
    tile = [contract.tile_height, contract.tile_width]
    expected = {
        "pixels": ("tensor(uint8)", [*tile, contract.channels]),
        "mask_probability": ("tensor(uint8)", [k, *tile]),
        "image_probability": ("tensor(float)", []),
    }
    nodes = [*session.get_inputs(), *session.get_outputs()]
    # the batch must be dynamic, which ONNX Runtime shows as a name or None
    found = {each.name: (each.type, each.shape[1:]) for each in nodes if not isinstance(each.shape[0], int)}
    if found != expected or len(nodes) != len(expected):
        given = {each.name: (each.type, each.shape) for each in nodes}
        raise BundleInvalid(f"the graph has {given}; bundle.json asks for a dynamic batch of {expected}")
