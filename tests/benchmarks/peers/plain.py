"""What every peer does with a picture, as one would write it without Passline.

Pictures are of one tile each, so that no peer has to cut. Environment variables
tell a peer what to serve and how.
"""

import base64
import os
from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

OUTPUTS = ["mask_probability", "image_probability"]
PREFIX = "PEER_"


@dataclass(frozen=True)
class Told:
    """What a peer serves: a graph, or for torch the folder of a bundle, and by which thresholds it judges."""

    model: str
    head_threshold: float
    level: int  # of 255; a pixel from here on is a defect

    @classmethod
    def from_environment(cls) -> Self:
        """Read what `as_environment` wrote."""
        model, head_threshold, level = (
            os.environ[PREFIX + name.upper()] for name in cls.__dataclass_fields__
        )
        return cls(model, float(head_threshold), int(level))

    def as_environment(self) -> dict[str, str]:
        """The environment variables that say this."""
        return {PREFIX + name.upper(): str(getattr(self, name)) for name in self.__dataclass_fields__}


def setting(name: str) -> int:
    """A number that this peer is run with, such as its port."""
    return int(os.environ[PREFIX + name])


def decode(data: bytes) -> NDArray[np.uint8]:
    """The file's grey pixels as the graph takes them, uint8 [1, h, w, 1]."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise ValueError("not a picture")
    return np.asarray(pixels, np.uint8)[None, :, :, None]


def load(model: str) -> Any:
    """A session with ONNX Runtime's default options."""
    import onnxruntime as ort  # here, since the peer in torch has no use for it

    return ort.InferenceSession(model, providers=["CPUExecutionProvider"])


def run(session: Any, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Levels of 255, uint8 [N, K, h, w], and image probabilities, float32 [N]."""
    levels, probabilities = session.run(OUTPUTS, {"pixels": pixels})
    return levels, probabilities


def judge(levels: NDArray[np.uint8], probability: float, told: Told) -> dict[str, str]:
    """Verdict and mask (a PNG in base64, k on the k-th class) from an image's levels, uint8 [K, h, w].

    `probability` is the image-level one: below its threshold the mask is empty.
    """
    mask = np.where(levels.max(axis=0) >= told.level, levels.argmax(axis=0) + 1, 0).astype(np.uint8)
    if probability < told.head_threshold:
        mask[:] = 0
    _, file = cv2.imencode(".png", mask)
    png = base64.b64encode(file.tobytes()).decode("ascii")
    return {"verdict": "fail" if mask.any() else "pass", "mask": png}
