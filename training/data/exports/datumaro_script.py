"""Runs in datumaro's environment: SRC FORMAT OUT; writes one line of JSON for each image, classes first.

It imports nothing of Passline, which is not installed there with what it needs.
"""

import json
import math
import sys
from collections import Counter
from pathlib import Path
from typing import Any


def main(source: str, name: str, out: str) -> int:
    """Read a data set; returns 1 with datumaro's reason on stderr where it cannot."""
    from datumaro import AnnotationType, Dataset
    from datumaro.errors import DatumaroError

    try:
        dataset = Dataset.import_from(source, name)
        labels = [each.name for each in dataset.categories().get(AnnotationType.label, ())]
        with Path(out).open("w", encoding="utf-8") as file:
            file.write(json.dumps({"classes": labels}) + "\n")
            for item in dataset:
                file.write(json.dumps(_image(item, labels)) + "\n")
    except (DatumaroError, OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _image(item: Any, labels: list[str]) -> dict[str, Any]:
    skipped: Counter[str] = Counter()
    shapes = []
    for annotation in item.annotations:
        kind = annotation.type.name
        drawn = _drawn(annotation, kind)
        if drawn is None or annotation.label is None:
            skipped[kind] += 1
        else:
            shapes.append({"label": labels[annotation.label]} | drawn)
    media = item.media
    path = getattr(media, "path", None)
    size = media.size if media is not None and media.has_size else None
    return {
        "id": item.id,
        "image": path,
        "size": None if size is None else [int(each) for each in size],
        "subset": item.subset,
        "shapes": shapes,
        "skipped": skipped,
    }


def _drawn(annotation: Any, kind: str) -> dict[str, Any] | None:
    """A ring of corners, a box around a defect, or COCO's run lengths; None for what has no area."""
    if kind == "mask":
        import numpy as np
        from pycocotools import mask as coco_mask

        runs: Any = coco_mask.encode(np.asfortranarray(annotation.image, np.uint8))
        return {"runs": {"size": [int(each) for each in runs["size"]], "counts": runs["counts"].decode()}}
    if kind == "polygon":
        return {"ring": [float(each) for each in annotation.points]}
    if kind == "bbox":
        return {"box": [float(each) for each in annotation.points]}
    if kind == "rotated_bbox":
        x, y, width, height, degrees = (float(each) for each in annotation.points)
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        corners = ((-1, -1), (1, -1), (1, 1), (-1, 1))
        half = [(across * width / 2, down * height / 2) for across, down in corners]
        return {"ring": [v for a, d in half for v in (x + a * cosine - d * sine, y + a * sine + d * cosine)]}
    if kind == "ellipse":
        left, top, right, bottom = (float(each) for each in annotation.points)
        angles = [math.tau * step / 180 for step in range(180)]
        x, y, across, down = (left + right) / 2, (top + bottom) / 2, (right - left) / 2, (bottom - top) / 2
        return {"ring": [v for a in angles for v in (x + across * math.cos(a), y + down * math.sin(a))]}
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
