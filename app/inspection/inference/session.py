"""A thread-safe session: one graph of a bundle on a known device, without silent fall-back."""

import logging
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from app.inspection.bundle.artifact import Artifact
from app.inspection.bundle.bundle import Bundle
from app.inspection.cancellation import NEVER, Cancellation
from app.inspection.errors import BundleInvalid, DeviceUnavailable, InferenceFailed
from app.inspection.inference.batching import Batcher, Interrupting, Run, Way
from app.inspection.inference.gpu import SIZES, GpuRun, Shapes
from app.inspection.inference.runtime import (
    CPU,
    CUDA,
    GPU_PROVIDERS,
    ORT_ERRORS,
    PROVIDERS,
    TENSORRT,
    Device,
    open_graph,
)
from app.inspection.inference.tensorrt import Engines
from app.inspection.inference.threads import Compute, compute_on

logger = logging.getLogger(__name__)
NO_MEMORY = ("Failed to allocate memory", "bad_alloc", "bad allocation")  # in ONNX Runtime's messages
MEAN_LEVELS, IMAGE_PROBABILITY = 1.0, 0.02  # largest differences between batch sizes


class Answers(NamedTuple):
    """The graph's answers for N tiles.

    `mask_probability` is uint8 [N, K, h, w], `image_probability` float32 [N], `features` float32 [N, F], F
    being 0 where the bundle has no gate.
    """

    mask_probability: NDArray[np.uint8]
    image_probability: NDArray[np.float32]
    features: NDArray[np.float32]

    def check(self) -> None:
        """Raise InferenceFailed for a value out of range or NaN: a NaN would pass every part."""
        if not np.all((self.image_probability >= 0) & (self.image_probability <= 1)):
            raise InferenceFailed("the model gave an image_probability that is not between 0 and 1")
        if not np.isfinite(self.features).all():
            raise InferenceFailed("the model gave features that are not finite")


class Session(Protocol):
    """The interface the inspector needs to run a graph; threads may share a session.

    `artifact` is the graph's artifact, `execution_provider` the active one, `max_batch` the most tiles
    of one run.
    """

    @property
    def artifact(self) -> Artifact: ...

    @property
    def execution_provider(self) -> str: ...

    @property
    def max_batch(self) -> int: ...

    def run(self, tiles: NDArray[np.uint8], cancellation: Cancellation = ...) -> Answers:
        """Run tiles, uint8 [N, h, w, C]; raises InferenceFailed, and the error of `cancellation`."""

    def trying(self, number: int) -> AbstractContextManager[None]:
        """Use one run mode inside the `with` block, by its number, whatever the load; for warm-up."""


class OnnxSession:
    """One artifact of a bundle, loaded into ONNX Runtime and checked: the service's `Session`."""

    def __init__(
        self,
        bundle: Bundle,
        device: Device = "auto",
        threads: int | None = None,
        engines: Engines | None = None,
    ) -> None:
        """Load the first provider of the device that works, in the order TensorRT, CUDA, OpenVINO, CPU.

        TensorRT is used only if `engines` has the graph's engine. `threads` overrides the number of
        usable cores. Raises DeviceUnavailable if no provider of the device works, and BundleInvalid if
        the graph violates the contract.
        """
        session, self.artifact = _load(bundle, device, threads, engines)
        features = 0 if self.artifact.gate is None else self.artifact.gate.feature_count
        _check_graph(session, bundle, features)
        self.execution_provider: str = session.get_providers()[0]
        mask = (len(bundle.classes), bundle.input.tile_height, bundle.input.tile_width)
        self._shapes: Shapes = {
            "mask_probability": (mask, np.uint8),
            "image_probability": ((), np.float32),
            "features": ((features,), np.float32),
        }
        self._wanted = {name: each for name, each in self._shapes.items() if features or name != "features"}
        on_gpu = self.execution_provider in GPU_PROVIDERS
        compute = compute_on(gpu=on_gpu, threads=threads)
        few = self._bound(session, bundle, compute.few.threads) if on_gpu else self._plain(session)
        many = few if on_gpu else self._beside(few, bundle, compute)
        self.max_batch = compute.few.max_batch
        ways = Way(few, self.max_batch), Way(many, compute.many.max_batch)
        self._batcher = Batcher(compute.lanes, *ways)

    def run(self, tiles: NDArray[np.uint8], cancellation: Cancellation = NEVER) -> Answers:
        """As `Session.run`; tiles of other threads may share the batches."""
        room: list[Any] = [np.empty((len(tiles), *shape), kind) for shape, kind in self._shapes.values()]
        answers = Answers(*room)
        self._batcher.run(tiles, answers[: len(self._wanted)], cancellation)
        answers.check()
        return answers

    def trying(self, number: int) -> AbstractContextManager[None]:
        """As `Session.trying`."""
        return self._batcher.only(number)

    def _plain(self, session: Any) -> Run:
        return self._checked(_unbound(session, self._wanted))

    def _checked(self, run: Run) -> Run:
        return partial(_infer, self.execution_provider, self._wanted, run)

    def _beside(self, few: Run, bundle: Bundle, compute: Compute) -> Run:
        """The run function for many images on a CPU: a second session if its thread count differs."""
        own_pool = self.execution_provider == CPU
        if not own_pool or compute.many.threads == compute.few.threads:
            return few
        graph = bundle.read(self.artifact.file)
        try:
            return self._plain(open_graph(graph, self.execution_provider, compute.many.threads))
        except ORT_ERRORS as error:
            logger.warning("the second session, for many images, cannot be opened: %s", error)
            return few

    def _bound(self, session: Any, bundle: Bundle, threads: int) -> Run:
        """The fastest run function that works on this GPU: CUDA graphs, bound buffers, or neither."""
        tile = (bundle.input.tile_height, bundle.input.tile_width, bundle.input.channels)
        for graphs in (True, False) if self.execution_provider == CUDA else (False,):
            try:
                chosen = session
                if graphs:
                    graph = bundle.read(self.artifact.file)
                    chosen = open_graph(graph, self.execution_provider, threads, {"enable_cuda_graph": "1"})
                return self._checked(GpuRun(chosen, tile, self._wanted, "cuda", graphs=graphs))
            except ORT_ERRORS as error:
                what = "CUDA graphs" if graphs else "bound buffers"
                logger.warning("%s cannot be used on %s: %s", what, self.execution_provider, error)
        return self._plain(session)


def check_batches(session: Session, tile: NDArray[np.uint8]) -> None:
    """Raise InferenceFailed unless a tile uint8 [h, w, C] gets the same answer at every batch size.

    On a GPU each size may use other kernels; small differences come from their rounding.
    """
    alone = session.run(tile[None])
    for size in (each for each in SIZES if each <= session.max_batch):
        found = session.run(np.repeat(tile[None], size, axis=0))
        levels = found.mask_probability.astype(np.int16) - alone.mask_probability
        off = float(np.abs(found.image_probability - alone.image_probability).max())
        if (mean := float(np.abs(levels).mean())) > MEAN_LEVELS or off > IMAGE_PROBABILITY:
            raise InferenceFailed(
                f"in a batch of {size} a tile's answer is off by {mean:.2f} levels of 255 on average and"
                f" {off:.3f} in image_probability"
            )


def _infer(
    provider: str, wanted: Shapes, run: Run, tiles: NDArray[np.uint8], interrupting: Interrupting
) -> list[NDArray[Any]]:
    try:
        found = list(run(tiles, interrupting))
    except ORT_ERRORS as error:
        if any(each in str(error) for each in NO_MEMORY):
            raise MemoryError(f"{provider} had not enough memory to run the model: {error}") from error
        raise InferenceFailed(f"{provider} failed to run the model: {error}") from error
    if [each.shape for each in found] != [(len(tiles), *shape) for shape, _ in wanted.values()]:
        raise InferenceFailed("the model did not give one answer for each tile")
    return found


def _unbound(session: Any, wanted: Shapes) -> Run:
    names = list(wanted)

    def run(tiles: NDArray[np.uint8], interrupting: Interrupting) -> list[NDArray[Any]]:
        options = ort.RunOptions()
        with interrupting(partial(setattr, options, "terminate", True)):  # ends after the node it is at
            found: list[NDArray[Any]] = session.run(names, {"pixels": tiles}, options)
        return found

    return run


def _load(
    bundle: Bundle, device: Device, threads: int | None, engines: Engines | None
) -> tuple[Any, Artifact]:
    installed = ort.get_available_providers()
    if device != "cpu" and CUDA in installed:
        ort.preload_dlls()  # loads CUDA and cuDNN libraries installed as Python packages
    refusals = []
    for provider in PROVIDERS[device]:
        artifact = next((each for each in bundle.artifacts if provider in each.providers), None)
        if provider not in installed:
            refusals.append(f"{provider} is not in this build of ONNX Runtime")
        elif artifact is None:
            refusals.append(f"the bundle has no artifact for {provider}")
        elif provider == TENSORRT and (engines is None or not engines.has(artifact)):
            refusals.append(f"no engine of {artifact.file} was built for {provider}")
        else:
            most = compute_on(gpu=provider in GPU_PROVIDERS, threads=threads).few.threads
            of_engine = engines if provider == TENSORRT else None
            options = of_engine.options(artifact, bundle.input) if of_engine else {}
            try:
                return open_graph(bundle.read(artifact.file), provider, most, options), artifact
            except ORT_ERRORS as error:
                if provider == CPU:  # always available, so the graph is faulty
                    raise BundleInvalid(f"{artifact.file} cannot be loaded: {error}") from error
                refusals.append(f"{provider} could not be used with {artifact.file}: {error}")
                logger.warning("%s", refusals[-1])
    raise DeviceUnavailable(f"device {device!r} cannot be used: {'; '.join(refusals)}")


def _check_graph(session: Any, bundle: Bundle, features: int) -> None:
    """Raise BundleInvalid unless the graph's names, types and shapes are those of `bundle.json`.

    A `features` output is allowed without an input gate: a gate is fitted on it.
    """
    contract, k = bundle.input, len(bundle.classes)
    tile = [contract.tile_height, contract.tile_width]
    expected = {
        "pixels": ("tensor(uint8)", [*tile, contract.channels]),
        "mask_probability": ("tensor(uint8)", [k, *tile]),
        "image_probability": ("tensor(float)", []),
    }
    if features:
        expected["features"] = ("tensor(float)", [features])
    nodes = [
        each
        for each in (*session.get_inputs(), *session.get_outputs())
        if each.name in expected or each.name != "features"
    ]
    # the batch must be dynamic, which ONNX Runtime shows as a name or None
    found = {each.name: (each.type, each.shape[1:]) for each in nodes if not isinstance(each.shape[0], int)}
    if found != expected or len(nodes) != len(expected):
        given = {each.name: (each.type, each.shape) for each in nodes}
        raise BundleInvalid(f"the graph has {given}; bundle.json asks for a dynamic batch of {expected}")
