"""The certificate of one inspection: a self-contained HTML page, to print or archive."""

from dataclasses import dataclass
from datetime import datetime

import jinja2

from app.inspection.bundle.artifact import GateCheck
from app.inspection.input_gate import MEANS
from app.report.words import MEASURED, UNITS, figures, number, sentence
from app.schemas.inspections import InspectionAnswer

# No scripts, and nothing from other addresses.
PAGE_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
MOST_ROWS = 20  # so that the page prints on at most two sheets
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("app", "report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {"number": number, "sentence": sentence}


@dataclass(frozen=True, slots=True)
class Origin:
    """What a certificate adds to the answer: when and for which request it was made, and the graph."""

    time: datetime
    request_id: str
    filename: str | None
    graph_sha256: str
    pixel_threshold: float
    min_area_px: int
    gate_checks: tuple[GateCheck, ...]


@dataclass(frozen=True, slots=True)
class Pictures:
    """A certificate's images, base64 PNGs; `scale` shows the heat map's colours from 0 to 1."""

    overlay: str
    heatmap: str
    scale: str


def page(answer: InspectionAnswer, origin: Origin, pictures: Pictures) -> str:
    """Render the page; the template escapes all values."""
    scores = answer.gate_scores
    return _ENVIRONMENT.get_template("certificate.html").render(
        answer=answer,
        origin=origin,
        pictures=pictures,
        policy=PAGE_POLICY,
        most_rows=MOST_ROWS,
        gate=[] if scores is None else [_gate_check(each, scores[each.score]) for each in origin.gate_checks],
    )


def _gate_check(check: GateCheck, score: float) -> tuple[str, str, str, str]:
    """A table row: what is measured, its value, its limits, and whether it is within them."""
    rule, in_unit = MEANS[check.score]
    unit = UNITS.get(in_unit, "")
    name = {"short_side_px": "short side", "long_side_px": "long side"}.get(check.score, MEASURED[rule])
    broken = check.broken(score)
    measured = number(score) if broken is None else figures(score, broken)[0]
    within = "within" if broken is None else "OUTSIDE"
    return name.capitalize(), f"{measured}{unit}", _allowed(check.low, check.high) + unit, within


def _allowed(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "any" if low == high else f"at most {high:.9g}" if low is None else f"at least {low:.9g}"
    return f"{low:.9g} to {high:.9g}"
