"""Pictures and what is none, each with the answer that it gets alone."""

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2

from tests.benchmarks.load import Answer, Connection, request
from training.data.synthesis.tiles import CLASSES, generate_tile

SEED = 800_000
Size = tuple[int, int]  # height, width
SIZES: tuple[Size, ...] = ((128, 128), (256, 256), (240, 320), (300, 500))
BOMB_SIDE_PX = 30_000


@dataclass(frozen=True)
class Said:
    """What may not depend on anything but the picture and the recipe."""

    status: int
    verdict: str | None = None
    mask: str | None = None


@dataclass(frozen=True)
class Case:
    """A body that is sent, and the status it must get alone."""

    name: str
    body: bytes
    media_type: str
    status: int = 200

    def request(self, query: str = "") -> bytes:
        """A whole request for one inspection."""
        return request(f"/v1/inspections{query}", self.media_type, self.body)


def good_cases(sizes: Sequence[Size] = SIZES) -> list[Case]:
    """Good and defective pictures of these heights and widths, in turn as PNG and as JPEG."""
    cases = []
    for number, size in enumerate([*sizes, *sizes]):
        defect = CLASSES[number % len(CLASSES)] if number < len(sizes) else None
        kind = "jpeg" if number % 2 else "png"
        _, file = cv2.imencode(f".{kind}", generate_tile(SEED + number, defect, size)[0])
        name = f"{size[1]} x {size[0]} px, {defect or 'good'}, {kind}"
        cases.append(Case(name, file.tobytes(), f"image/{kind}"))
    return cases


def bad_cases() -> list[Case]:
    """What cannot be inspected."""
    whole = cv2.imencode(".png", generate_tile(SEED, None, (256, 256))[0])[1].tobytes()
    return [
        Case("truncated", whole[: len(whole) // 2], "image/png", 400),
        Case("empty", b"", "image/png", 400),
        Case("no picture", b"a part number, perhaps" * 50, "image/png", 415),
        Case("wrong media type", whole, "text/plain", 415),
        Case("bomb", bomb(), "image/png", 413),
    ]


def bomb() -> bytes:
    """A small PNG that says it is a huge one."""
    header = struct.pack(">IIBBBBB", BOMB_SIDE_PX, BOMB_SIDE_PX, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(2**20))), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def said(answer: Answer) -> Said:
    """What an answer says."""
    if answer.status != 200:
        return Said(answer.status)
    inspection = json.loads(answer.body)
    return Said(answer.status, *judged(inspection))


def judged(inspection: Any) -> tuple[str, str]:
    """Verdict and mask of an inspection."""
    return inspection["verdict"], inspection["mask"]["data"]


def alone(connection: Connection, cases: Sequence[Case], query: str = "") -> dict[str, Said]:
    """What is said of each case while nothing else is asked; raises RuntimeError for another status."""
    answers = {}
    for case in cases:
        answers[case.name] = said(connection.ask(case.request(query)))
        if answers[case.name].status != case.status:
            raise RuntimeError(f"{case.name}: {answers[case.name].status}, not {case.status}")
    return answers
