"""`python -m tests.fuzz.seeds`: write the small generated inputs that fuzzing starts from."""

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from tests.fuzz.targets import CORPUS
from tests.inspection.tiff_files import How, tiff
from tests.markdown import ROOT, blocks
from tests.tiny_bundle import tiny_graph, write_tiny_bundle

RECIPES = {
    "whole": """
name: whole
pixel_pitch_mm: 0.05
limits: {dark: {max_count: 2, max_area_mm2: 1.5, max_density: {count: 3, window_mm: 2.0}}}
severities: {critical: {max_count: 0}}
other: {max_length_px: 20, min_distance_px: 4.5}
""",
    "json": '{"name": "strict", "other": {"max_count": 0}}',
    "alias": "name: a\nlimits: {dark: &one {max_count: 1}, bright: *one}\n",
}
FORMS = {
    "batch": b'--B\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n'
    b"Content-Type: image/png\r\n\r\nx\r\n--B\r\nContent-Disposition: form-data; name=recipe\r\n\r\n"
    b"strict\r\n--B--\r\n",
    "encoded_name": b"--B\r\nContent-Disposition: form-data; name=images; filename*=utf-8''%e2%82%ac\r\n\r\n"
    b"\r\n--B\r\r\n-\r\n--B--\r\n",
    "empty": b"--B--\r\n",
}


def _pixels() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 3, (12, 16), dtype=np.uint8))


def _file(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pictures() -> Iterator[tuple[str, bytes]]:
    """The kinds of file that are read, and some that are not, each of a few hundred bytes."""
    grey = _pixels()
    rgb = grey.convert("RGB")
    deep = Image.fromarray(np.asarray(grey, np.uint16) * 20_000)
    turned = Image.Exif()
    turned[0x0112] = 6
    for image, name in ((grey, "grey"), (rgb, "rgb")):
        for kind in ("JPEG", "PNG", "BMP", "TIFF"):
            yield f"{name}.{kind.lower()}", _file(image, kind)
    yield "progressive.jpeg", _file(rgb, "JPEG", progressive=True)
    yield "restarts.jpeg", _file(rgb, "JPEG", restart_marker_blocks=1)
    yield "turned.jpeg", _file(grey, "JPEG", exif=turned)
    yield "cmyk.jpeg", _file(rgb.convert("CMYK"), "JPEG")
    yield "deep.png", _file(deep, "PNG")
    yield "deep.tiff", _file(deep, "TIFF")
    yield "palette.png", _file(rgb.quantize(4), "PNG")
    yield "see_through.png", _file(grey.convert("LA"), "PNG")
    yield "bits.png", _file(grey.convert("1"), "PNG")
    yield "animated.png", _file(grey, "PNG", save_all=True, append_images=[rgb.convert("L")])
    for how in ("tiff_lzw", "tiff_deflate", "packbits"):
        yield f"{how}.tiff", _file(grey, "TIFF", compression=how)
    samples = np.random.default_rng(1).integers(128, 256, (12, 16, 3), dtype=np.uint16)
    colour, one = dict[str, Any](photometric=2, planar=True), samples[..., :1]
    yield "planar.tiff", tiff(samples << 8, How(bits=16, order=">", **colour))
    yield "big.tiff", tiff(one << 4, How(bits=12, big=True, order=">", rows=5))
    yield (
        "tiles.tiff",
        tiff(samples << 8, How(bits=16, tile=(16, 16), compression=8, predictor=True, **colour)),
    )
    yield "palette.tiff", tiff(one >> 6, How(bits=2, photometric=3), tag_320=list(range(0, 60_000, 5_000)))
    yield "white_is_zero.tiff", tiff(one, How(photometric=0, compression=5), tag_254=[0], tag_281=[255])


def recipes() -> Iterator[tuple[str, bytes]]:
    """Those above, and the examples of docs/recipes.md."""
    examples = [each for each in blocks(ROOT / "docs/recipes.md") if each.language.startswith("yaml")]
    yield from ((name, text.encode()) for name, text in RECIPES.items())
    yield from ((f"example_{number}", each.body.encode()) for number, each in enumerate(examples))


def manifests() -> Iterator[tuple[str, bytes]]:
    """A bundle with an input gate, and one without."""
    with TemporaryDirectory() as folder:
        for gate in (False, True):
            written = write_tiny_bundle(Path(folder) / str(gate), gate=gate)
            content = json.loads((written / "bundle.json").read_text())
            yield "gated.json" if gate else "plain.json", json.dumps(content).encode()


def arrays() -> Iterator[tuple[str, bytes]]:
    """Features of an input gate, as they are and packed."""
    for save in (np.savez, np.savez_compressed):
        file = BytesIO()
        save(file, mean=np.zeros(2, np.float32), whitening=np.eye(2, dtype=np.float32))
        yield save.__name__, file.getvalue()


def write() -> None:
    """Write every seed; what was found by fuzzing stays as it is."""
    files = dict(pictures())
    masks = {name: data for name, data in files.items() if not name.endswith("jpeg")}
    kept = {"picture": files, "reference_mask": masks, "recipe": dict(recipes()), "form": FORMS}
    of_bundles = {"bundle": dict(manifests()), "graph": {"tiny": tiny_graph(2, 8, 1, gate=True)}}
    for target, seeds in (kept | of_bundles | {"arrays": dict(arrays())}).items():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        for name, data in seeds.items():
            (CORPUS / target / f"seed-{name.replace('.', '_')}").write_bytes(data)


if __name__ == "__main__":
    write()
