"""`passline demo`: post sample images to a running service, print a table and write overlays."""

import base64
import http.client
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from app.commands.folder import TROUBLE, pictures, table, verdict_cells
from app.inspection.bundle.bundle import Bundle

MEDIA_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".bmp": "image/bmp", ".tif": "image/tiff"}
MEDIA_TYPES |= {".png": "image/png", ".tiff": "image/tiff"}
TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Sample:
    """An image, its expected verdict if known, and the recipe to use (None: the default)."""

    file: Path
    expected: str = ""
    recipe: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """The running service, and an API key's token if it needs one."""

    url: str
    token: str | None = None


def golden_samples(bundle_dir: Path) -> list[Sample]:
    """The golden images of a bundle, whose verdicts are known."""
    bundle = Bundle.load(bundle_dir)
    own = bundle.default_recipe.name
    return [Sample(bundle.directory / each.image, each.verdict, own) for each in bundle.golden]


def folder_samples(folder: Path) -> list[Sample]:
    """The images of a folder."""
    return [Sample(file) for file in pictures(folder)]


def run(target: Target, samples: Sequence[Sample], out: Path) -> int:
    """Post the samples and print the results; returns 0 unless a request failed or a verdict is wrong."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        rows = [_row(target, sample, out) for sample in samples]
    except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
        print(f"no service answers at {target.url} ({error}); start one with `make serve`", file=sys.stderr)
        return TROUBLE
    print(table(("image", "verdict", "expected", "decided by", "ms"), rows))
    print(f"\n{len(rows)} images; the overlays are in {out}/")
    right = all(row[1] == (row[2] or row[1]) != "error" for row in rows)
    return 0 if rows and right else 1


def _row(target: Target, sample: Sample, out: Path) -> tuple[str, ...]:
    status, answer = _post(target, sample)
    if status != http.HTTPStatus.OK:
        return sample.file.name, "error", sample.expected, f"{answer['code']}: {answer['detail']}", ""
    overlay = out / f"{sample.file.stem}.overlay.png"
    overlay.write_bytes(base64.b64decode(answer["overlay"]))
    verdict, reasons, milliseconds = verdict_cells(answer)
    return sample.file.name, verdict, sample.expected, reasons, milliseconds


def _post(target: Target, sample: Sample) -> tuple[int, dict[str, Any]]:
    where, file = urlsplit(target.url), sample.file
    kind = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
    connection = kind(where.netloc, timeout=TIMEOUT_S)
    options = {"overlay": "true", "mask": "none", "part_id": file.stem[:128]}
    query = urlencode(options | ({"recipe": sample.recipe} if sample.recipe else {}))
    key = {"Authorization": f"Bearer {target.token}"} if target.token else {}
    try:
        connection.request(
            "POST",
            f"{where.path.rstrip('/')}/v1/inspections?{query}",
            file.read_bytes(),
            {"Content-Type": MEDIA_TYPES[file.suffix.lower()], **key},
        )
        response = connection.getresponse()
        answer: dict[str, Any] = json.load(response)
        return response.status, answer
    finally:
        connection.close()
