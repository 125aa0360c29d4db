"""One picture judged in three ways, each doing all that the one before it does and more."""

import http.client
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import onnxruntime as ort

from app.inspection.decoding.decode import decode
from app.inspection.inference.tiling import cut
from app.inspection.inspector import Inspector
from tests.markdown import ROOT
from tests.serving import HOST
from training.data.synthesis.tiles import generate_tile

PAGE = ROOT / "docs/benchmarks.md"
SHIPPED = ROOT / "models/magnetic-tile/6"
SEED = 500_000
BATCH = 8  # tiles per run, as `app.inspection.inference.session` does by default
OUTPUTS = ["mask_probability", "image_probability"]


@dataclass(frozen=True)
class Picture:
    """A generated picture as a camera's software would send it; `tiles` is what the graph takes of it."""

    name: str
    media_type: str
    data: bytes
    tiles: Any


def pictures(inspector: Inspector, sizes: tuple[tuple[int, int], ...]) -> list[Picture]:
    """One picture with a crack for each (height, width): as PNG, and as JPEG from a megapixel on."""
    made = []
    for number, (height, width) in enumerate(sizes):
        pixels, _ = generate_tile(SEED + number, "crack", (height, width))
        kind = "jpeg" if height * width >= 1_000_000 else "png"
        _, encoded = cv2.imencode(f".{kind}", pixels)
        data = encoded.tobytes()
        tiles, _ = cut(decode(data, inspector.limits), inspector.bundle.input)
        name = f"{width} x {height} px, {kind.upper()}, {len(tiles)} tiles"
        made.append(Picture(name, f"image/{kind}", data, tiles))
    return made


def bare(inspector: Inspector, picture: Picture) -> Callable[[], object]:
    """Nothing but ONNX Runtime on tiles that lie ready, in a session of its own with its default options."""
    graph = inspector.bundle.read(inspector.session.artifact.file)
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])

    def run() -> None:
        for start in range(0, len(picture.tiles), BATCH):
            session.run(OUTPUTS, {"pixels": picture.tiles[start : start + BATCH]})

    return run


def inspect(inspector: Inspector, picture: Picture) -> Callable[[], object]:
    """From the encoded picture to the verdict, in this process."""
    return lambda: inspector.inspect(picture.data)


@contextmanager
def post(port: int, picture: Picture) -> Iterator[Callable[[], object]]:
    """From the encoded picture to the JSON answer with its mask, over one kept connection to a service."""
    with closing(http.client.HTTPConnection(HOST, port)) as connection:

        def ask() -> object:
            connection.request("POST", "/v1/inspections", picture.data, {"Content-Type": picture.media_type})
            response = connection.getresponse()
            answer = json.load(response)
            if response.status != http.HTTPStatus.OK:
                raise RuntimeError(f"the service answered {answer}")
            return answer

        yield ask


def machine() -> str:
    """The processor as the kernel names it, and how many of its cores this process may use."""
    lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else 'unknown processor'}, {len(os.sched_getaffinity(0))} cores"


def made_of(inspector: Inspector) -> str:
    """What is measured, where and when."""
    bundle, session = inspector.bundle, inspector.session
    return (
        f"{bundle.name} {bundle.version}, {session.artifact.name} on {session.execution_provider}, "
        f"ONNX Runtime {ort.__version__}; {machine()}; {datetime.now(UTC):%Y-%m-%d}."
    )
