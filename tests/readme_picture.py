"""The image in README.md: a golden sample of the shipped bundle, which is generated, with its defects drawn.

`python -m tests.readme_picture --write` writes it; without `--write` the command only prints what is found.
"""

import argparse
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from app.inspection import Inspector
from app.report import overlay
from tests.markdown import ROOT
from tests.readme_figures import BUNDLE

PICTURE = ROOT / "docs/images/part-with-defects.png"
SAMPLE = "golden/crack.png"
MOST_BYTES = 60_000
STEP = 10  # between grey levels: the metal's noise in full would make the file large


def picture(bundle: Path) -> bytes:
    """The sample as a PNG, with the defects that the bundle finds outlined and named."""
    inspector = Inspector.load(bundle)
    image = bundle / SAMPLE
    inspection = inspector.inspect(image.read_bytes())
    print(inspection.verdict, *(f"{each.defect_class} {each.score:.2f}" for each in inspection.defects))
    grey = np.asarray(Image.open(image), np.uint8)
    drawn = overlay.draw(grey, inspection, inspector.bundle.default_recipe)
    colour = np.ascontiguousarray(drawn[:, :, ::-1])
    is_grey = np.ptp(colour, axis=2) == 0
    colour[is_grey] = colour[is_grey] // STEP * STEP
    out = BytesIO()
    Image.fromarray(colour).quantize().save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    """Make the image, and write it if asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.readme_picture", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PICTURE.relative_to(ROOT)}")
    write = parser.parse_args().write
    png = picture(BUNDLE)
    assert len(png) <= MOST_BYTES, f"{len(png)} bytes are more than {MOST_BYTES}"
    if write:
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_bytes(png)


if __name__ == "__main__":
    main()
