"""Running a graph on a GPU over buffers that stay where they are, at a few fixed batch sizes.

Without this ONNX Runtime allocates a batch's input and outputs on the GPU at every run, copies them from and
to memory that the system may move, and launches every kernel anew. Here a batch is padded to the next fixed
size; for each size there is one set of buffers on the device, a page-locked one for the pixels on the host,
and, where the provider can, one CUDA graph that replays all kernels at once.
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

logger = logging.getLogger(__name__)
SIZES = (1, 2, 4, 8, 16, 32)
CUDA_RUNTIMES = ("libcudart.so.13", "libcudart.so.12")
# While one session records its kernels CUDA forbids every other thread of the process to copy or allocate.
_DEVICE = threading.Lock()
Shapes = Mapping[str, tuple[tuple[int, ...], type[Any]]]  # of one tile, by the output's name


class GpuRun:
    """Runs batches of up to 32 tiles of one shape; for one caller at a time.

    `tile` is the shape of a tile, `outputs` what the graph gives of one. Every size is run once when this is
    made, which captures its CUDA graph where `graphs` says that the session was made for that. Whoever calls,
    one thread runs: ONNX Runtime keeps a captured graph with the thread that captured it. Raises ONNX
    Runtime's errors.
    """

    def __init__(
        self, session: Any, tile: tuple[int, ...], outputs: Shapes, device: str, *, graphs: bool
    ) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._slots = [_Slot(session, (size, *tile), outputs, device, graphs=graphs) for size in SIZES]
        for slot in self._slots:
            self._thread.submit(slot.run, np.zeros((slot.size, *tile), np.uint8)).result()

    def __call__(self, tiles: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """Run tiles uint8 [n, h, w, C]; answers of n tiles for each output."""
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
        if graphs:  # each size has a graph of its own: a graph's shapes and addresses are fixed
            self._options.add_run_config_entry("gpu_graph_id", str(self.size))

    def run(self, tiles: NDArray[np.uint8]) -> list[NDArray[Any]]:
        self._pixels[: len(tiles)] = tiles  # what an earlier batch left behind it does no harm
        with _DEVICE:
            self._input.update_inplace(self._pixels)
            self._session.run_with_iobinding(self._binding, self._options)
            return [each.numpy() for each in self._found]


def _page_locked(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Zeros in memory that the system does not move, so that a GPU copies from it at full speed.

    Without CUDA's runtime they are ordinary memory, which is slower and no less right.
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
