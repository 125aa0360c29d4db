"""Run a graph on a GPU with preallocated buffers (I/O binding) and a few fixed batch sizes.

By default ONNX Runtime allocates inputs and outputs on the GPU for every run, copies through pageable
memory and launches every kernel separately. Here a batch is padded to the next fixed size. Each size has
its own buffers on the device, a page-locked host buffer for the pixels and, if the provider supports it,
a CUDA graph that replays all kernels with one launch.
"""

import ctypes
import logging
import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from app.inspection.inference.batching import Interrupting

logger = logging.getLogger(__name__)
SIZES = (1, 2, 4, 8, 16, 32)
CUDA_RUNTIMES = ("libcudart.so.13", "libcudart.so.12")
# While a CUDA graph is captured, no other thread of the process may copy or allocate on the device.
_DEVICE = threading.Lock()
Shapes = Mapping[str, tuple[tuple[int, ...], type[Any]]]  # shape and type for one tile, by output name


class GpuRun:
    """Runs batches of up to 32 tiles of one shape; for one caller at a time.

    `tile` is the shape of a tile, `outputs` the graph's outputs for one tile. The constructor runs every
    size once; with `graphs` this captures the CUDA graphs, and the session must have been created for
    it. All runs happen on one thread, because ONNX Runtime ties a captured graph to the capturing
    thread. Raises ONNX Runtime's errors.
    """

    def __init__(
        self, session: Any, tile: tuple[int, ...], outputs: Shapes, device: str, *, graphs: bool
    ) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._slots = [_Slot(session, (size, *tile), outputs, device, graphs=graphs) for size in SIZES]
        for slot in self._slots:
            self._thread.submit(slot.run, np.zeros((slot.size, *tile), np.uint8)).result()

    def __call__(self, tiles: NDArray[np.uint8], _: Interrupting | None = None) -> list[NDArray[Any]]:
        """Run tiles uint8 [n, h, w, C]; returns one array of n answers for each output.

        A run takes milliseconds, so it is not interrupted.
        """
        slot = next(each for each in self._slots if each.size >= len(tiles))
        return [each[: len(tiles)] for each in self._thread.submit(slot.run, tiles).result()]


class _Slot:
    """The buffers of one batch size."""

    def __init__(
        self, session: Any, shape: tuple[int, ...], outputs: Shapes, device: str, *, graphs: bool
    ) -> None:
        self.size = shape[0]
        self._session = session
        self._pixels = _page_locked(shape)
        self._input = ort.OrtValue.ortvalue_from_numpy(self._pixels, device, 0)
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input("pixels", self._input)
        room = [np.zeros((self.size, *each), kind) for each, kind in outputs.values()]
        self._found = [ort.OrtValue.ortvalue_from_numpy(each, device, 0) for each in room]
        for name, value in zip(outputs, self._found, strict=True):
            self._binding.bind_ortvalue_output(name, value)
        self._options = ort.RunOptions()
        if graphs:  # one CUDA graph per size: its shapes and addresses are fixed
            self._options.add_run_config_entry("gpu_graph_id", str(self.size))

    def run(self, tiles: NDArray[np.uint8]) -> list[NDArray[Any]]:
        self._pixels[: len(tiles)] = tiles  # pixels of an earlier batch behind it are harmless padding
        with _DEVICE:
            self._input.update_inplace(self._pixels)
            self._session.run_with_iobinding(self._binding, self._options)
            return [each.numpy() for each in self._found]


def _page_locked(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Zeros in page-locked (pinned) host memory, from which a GPU copies at full speed.

    Without the CUDA runtime library it is ordinary memory: slower, same results.
    """
    array = np.zeros(shape, dtype=np.uint8)
    for name in CUDA_RUNTIMES:
        try:
            runtime = ctypes.CDLL(name)
        except OSError:
            continue
        address = ctypes.c_void_p(array.ctypes.data)
        failed = runtime.cudaHostRegister(address, ctypes.c_size_t(array.nbytes), 0)
        if not failed:
            weakref.finalize(array, runtime.cudaHostUnregister, address)
            return array
        logger.debug("%s did not lock %d bytes: error %d", name, array.nbytes, failed)
    return array
