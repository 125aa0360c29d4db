"""Writes generated surfaces as WebDataset shards, in the layout that training.data.layouts.shards reads."""

import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from training.data.sample import DatasetError, Pixels
from training.data.synthesis.defects import DEFECTS
from training.data.synthesis.generator import SurfaceSet

PICTURES_PER_SHARD = 1_000
JPEG_QUALITY = 90
SOURCE = "generated"

Files = dict[str, bytes]  # files of one image by extension: the part of the name after the key


def write_surfaces(root: Path, count: int, seed: int, defective_share: float, workers: int = 2) -> None:
    """Write a SurfaceSet into a new folder, atomically, with at most one shard in memory.

    `workers` threads draw images. Raises DatasetError if `root` exists, ValueError as SurfaceSet does.
    """
    pictures = SurfaceSet(count, seed, defective_share)
    if root.exists():
        raise DatasetError(f"{root} exists already; give a new folder")
    partial = root.with_name(f".{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by an interrupted run
    partial.mkdir(parents=True)
    try:
        classes = {0: "good", **dict(enumerate(DEFECTS, start=1))}
        (partial / "classes.json").write_text(json.dumps(classes, indent=1) + "\n", encoding="utf-8")
        for number, first in enumerate(range(0, count, PICTURES_PER_SHARD)):
            indices = range(first, min(count, first + PICTURES_PER_SHARD))
            _write_shard(partial / f"{SOURCE}-{number:03d}.tar", _drawn(pictures, indices, workers))
        partial.replace(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _drawn(pictures: SurfaceSet, indices: range, workers: int) -> Iterator[tuple[str, Files]]:
    threads = ThreadPoolExecutor(workers)
    try:
        keys = (f"{SOURCE}_{index:06d}" for index in indices)
        yield from zip(keys, threads.map(lambda index: _files(pictures, index), indices), strict=True)
    finally:
        threads.shutdown(cancel_futures=True)  # otherwise an early stop would first draw the whole shard


def _files(pictures: SurfaceSet, index: int) -> Files:
    pixels, bits = pictures[index]
    plan = pictures.plan(index)
    facts = {
        "source": SOURCE,
        "group": f"{SOURCE}-{pictures.seed}-{index}",
        "defective": plan.defect_class is not None,
        "classes": [plan.defect_class] if plan.defect_class else [],
        "surface": plan.surface,
        "seed": plan.seed,
    }
    files = {"jpg": _encoded(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])}
    if plan.defect_class is not None:
        number = DEFECTS.index(plan.defect_class) + 1
        files["mask.png"] = _encoded(".mask.png", (bits > 0).astype(np.uint8) * np.uint8(number), [])
    return files | {"json": json.dumps(facts).encode()}


def _encoded(suffix: str, pixels: Pixels, parameters: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, pixels, parameters)
    if not done:
        raise DatasetError(f"a generated image could not be encoded as {suffix}")
    return data.tobytes()


def _write_shard(path: Path, pictures: Iterator[tuple[str, Files]]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, files in pictures:
            for suffix, data in files.items():
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
