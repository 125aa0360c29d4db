"""HTML reports in one file each: tables, charts and pictures inside, nothing fetched from elsewhere."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.files import write_text

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("training", "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_report(path: Path, template: str, values: Mapping[str, Any]) -> None:
    """Fill `training/templates/TEMPLATE` and write it, whole or not at all; text in it is escaped."""
    write_text(path, _ENVIRONMENT.get_template(template).render(values))


def picture(pixels: NDArray[np.uint8], alt: str) -> Markup:
    """An <img> of uint8 grey [H, W] or RGB [H, W, 3] pixels, inside the page."""
    colours = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    data = base64.b64encode(cv2.imencode(".jpg", colours, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())
    return Markup('<img src="data:image/jpeg;base64,{}" alt="{}">').format(data.decode(), alt)


def chart(figure: Figure) -> Markup:
    """A matplotlib figure as SVG, inside the page."""
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": "passline"}):  # as no date: the same figures, the same file
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return Markup(buffer.getvalue()[buffer.getvalue().index("<svg") :])
