"""Pages from templates: self-contained HTML reports, and Markdown."""

import base64
import io
import textwrap
from collections.abc import Mapping
from typing import Any

import cv2
import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray


def paragraph(text: str) -> str:
    """Wrap text to a paragraph without breaking links and numbers."""
    filled = textwrap.fill(" ".join(text.split()), 110, break_long_words=False, break_on_hyphens=False)
    return f"{filled}\n"


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("training", "templates"),
    autoescape=jinja2.select_autoescape(["html"]),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["paragraph"] = paragraph


def render(template: str, values: Mapping[str, Any]) -> str:
    """Fill `training/templates/TEMPLATE`; text is escaped in HTML pages."""
    return _ENVIRONMENT.get_template(template).render(values)


def embedded_image(pixels: NDArray[np.uint8], alt: str) -> Markup:
    """An <img> with embedded uint8 pixels, grey [H, W] or RGB [H, W, 3]."""
    colours = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    data = base64.b64encode(cv2.imencode(".jpg", colours, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())
    return Markup('<img src="data:image/jpeg;base64,{}" alt="{}">').format(data.decode(), alt)


def chart(figure: Figure) -> Markup:
    """A matplotlib figure as embedded SVG."""
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": "passline"}):  # with `Date: None`: equal figures, equal files
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return Markup(buffer.getvalue()[buffer.getvalue().index("<svg") :])
