"""The certificate of one inspection: one HTML page that needs nothing else, to print or to keep."""

from dataclasses import dataclass
from datetime import datetime

import jinja2

from app.inspection.bundle.artifact import GateCheck
from app.inspection.input_gate import MEANS
from app.report.words import MEASURED, UNITS, figures, number, sentence
from app.schemas.inspections import InspectionAnswer

# No script, and nothing from outside.
PAGE_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
MOST_ROWS = 20  # so that it stays within two pages
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
    """What a certificate tells and an answer does not: when and for whom it was made, and with what graph."""

    time: datetime
    request_id: str
    filename: str | None
    graph_sha256: str
    pixel_threshold: float
    min_area_px: int
    gate_checks: tuple[GateCheck, ...]


@dataclass(frozen=True, slots=True)
class Pictures:
    """A certificate's pictures, base64 PNGs; `scale` shows the heat map's colours from 0 to 1."""

    overlay: str
    heatmap: str
    scale: str


def page(answer: InspectionAnswer, origin: Origin, pictures: Pictures) -> str:
    """The page; the template escapes whatever it is given."""
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
    """A row: what is measured, its value, its limits, and whether it is within."""
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
