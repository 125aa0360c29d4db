"""What all servers are given, and that each of them answers it rightly."""

import base64
import json
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.inspector import Inspector
from app.inspection.measuring.mask import pixel_level
from tests.benchmarks.load import Turn, connected, form, measured
from tests.benchmarks.peers import plain
from tests.benchmarks.servers import Peer, Server
from training.data.synthesis.tiles import CLASSES, generate_tile

SEED = 700_000
PICTURES = 12


@dataclass(frozen=True)
class Task:
    """Pictures of one tile each, as PNG, and how to judge them."""

    inspector: Inspector
    pictures: tuple[bytes, ...]

    def told(self, peer: Peer | None = None) -> plain.Told:
        """What a peer must know; where it serves a graph, that of the artifact that Passline serves."""
        artifact, directory = self.inspector.session.artifact, self.inspector.bundle.directory
        point = artifact.operating_point
        model = directory if peer is not None and peer.torch else directory / artifact.file
        return plain.Told(str(model.resolve()), point.head_threshold, pixel_level(point.pixel_threshold))

    def requests(self, peer: Peer) -> list[bytes]:
        """A request to a peer for each picture."""
        return [form("/predict", peer.field, picture) for picture in self.pictures]

    @cached_property
    def session(self) -> Any:
        """The graph in a session with ONNX Runtime's defaults."""
        return plain.load(self.told().model)

    @cached_property
    def tiles(self) -> list[NDArray[np.uint8]]:
        """The pictures as the graph takes them."""
        return [plain.decode(picture) for picture in self.pictures]


def task_of(inspector: Inspector) -> Task:
    """Pictures of one tile of the bundle's, in turn with a defect of each class and good."""
    size = (inspector.bundle.input.tile_height, inspector.bundle.input.tile_width)
    kinds = [None if number % 2 else CLASSES[number // 2 % len(CLASSES)] for number in range(PICTURES)]
    pixels = [generate_tile(SEED + number, kind, size)[0] for number, kind in enumerate(kinds)]
    return Task(inspector, tuple(cv2.imencode(".png", each)[1].tobytes() for each in pixels))


def bare(task: Task, seconds: float) -> Turn:
    """Nothing but the graph, on one picture's tile after the other, which lie ready in memory."""
    plain.run(task.session, task.tiles[0])
    spans: list[tuple[float, float]] = []
    begin = time.perf_counter()
    while (started := time.perf_counter()) < begin + seconds:
        plain.run(task.session, task.tiles[len(spans) % len(task.tiles)])
        spans.append((started, time.perf_counter()))
    return measured(spans, begin, begin + seconds)


def our_requests(task: Task) -> list[bytes]:
    """A request to Passline for each picture."""
    return [form("/v1/inspections", "image", picture) for picture in task.pictures]


def check_ours(task: Task, server: Server) -> None:
    """Raise RuntimeError unless Passline answers every picture as the core does in this process."""
    for picture, asked in zip(task.pictures, our_requests(task), strict=True):
        answer, wanted = _asked(server, asked), task.inspector.inspect(picture)
        same = np.array_equal(_mask(answer["mask"]["data"]), wanted.label_map)
        if answer["verdict"] != wanted.verdict or not same:
            raise RuntimeError(f"{server.name} answers {answer['verdict']}, not {wanted.verdict}")


def check_peer(task: Task, peer: Peer, server: Server) -> None:
    """Raise RuntimeError unless a peer answers every picture as its few lines do in this process.

    A network in torch has other levels than the graph: of it, only that there is a mask.
    """
    for tile, asked in zip(task.tiles, task.requests(peer), strict=True):
        answer = _asked(server, asked)
        if peer.torch:
            right = _mask(answer["mask"]).shape == tile.shape[1:3]
        else:
            levels, probabilities = plain.run(task.session, tile)
            right = answer == plain.judge(levels[0], float(probabilities[0]), task.told(peer))
        if not right:
            raise RuntimeError(f"{server.name} judges otherwise than the graph that it serves")


def _asked(server: Server, request: bytes) -> Any:
    with connected(server.port) as connection:
        answer = connection.ask(request)
    if answer.status != 200:
        raise RuntimeError(f"{server.name} answered {answer.status} {answer.body[:300]!r}")
    said = json.loads(answer.body)
    return said[0] if isinstance(said, list) else said


def _mask(png: str) -> NDArray[np.uint8]:
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(png), np.uint8), cv2.IMREAD_GRAYSCALE)
    return np.asarray(pixels, np.uint8)
