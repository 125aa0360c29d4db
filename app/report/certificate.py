"""The certificate of one inspection: one HTML page that needs nothing else, to print or to keep."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template

from app.inspection.bundle.artifact import GateCheck
from app.inspection.input_gate import MEANS
from app.inspection.results import Defect, EstimatedDice, Reason
from app.report.words import MEASURED, UNITS, figures, number, sentence
from app.schemas.inspections import InspectionAnswer

TEMPLATE = Template((Path(__file__).parent / "certificate.html").read_text(encoding="utf-8"))
# No script, and nothing from outside.
PAGE_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
MOST_ROWS = 20  # so that it stays within two pages


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
    """The page; whatever came from outside is escaped in `_facts`, `_table`, `_items` or here."""
    return TEMPLATE.substitute(
        policy=escape(PAGE_POLICY),
        id=escape(answer.id),
        verdict=answer.verdict,
        VERDICT=answer.verdict.upper(),
        labels=_labels(answer, origin),
        reasons=_items(map(_reason, answer.reasons)) if answer.reasons else "<p>No limit is exceeded.</p>",
        overlay=pictures.overlay,
        heatmap=pictures.heatmap,
        scale=pictures.scale,
        pixel_threshold=number(origin.pixel_threshold),
        defects=_defects(answer.defects),
        dice=_dice(answer),
        gate=_gate(answer.gate_scores, origin.gate_checks),
        judged=_judged(answer, origin),
        picture=_picture(answer, origin),
    )


def _reason(reason: Reason) -> str:
    return f"{reason.verdict.capitalize()}: {sentence(reason)}"


def _labels(answer: InspectionAnswer, origin: Origin) -> str:
    time = origin.time.isoformat(sep=" ", timespec="seconds").replace("+00:00", " UTC")
    return _facts(
        ("Part", answer.part_id or "not named"), ("Camera", answer.camera_id or "not named"), ("Time", time)
    )


def _defects(defects: Sequence[Defect]) -> str:
    if not defects:
        return "<p>None.</p>"
    head = ("", "Class", "Score", "Area", "Length", "Width", "Centre x, y", "At the edge")
    rows = [
        (
            str(place),
            each.defect_class,
            f"{each.score:.2f}",
            _size(each.area_px, each.area_mm2, "²"),
            _size(each.length_px, each.length_mm),
            _size(each.width_px, each.width_mm),
            ", ".join(map(number, each.centroid)),
            "yes" if each.touches_border else "no",
        )
        for place, each in enumerate(defects[:MOST_ROWS], start=1)
    ]
    more = len(defects) - len(rows)
    return _table(head, rows) + (f"<p>And {more} more.</p>" if more else "")


def _size(px: float, mm: float | None, power: str = "") -> str:
    in_px = f"{number(px)} px{power}"
    return in_px if mm is None else f"{number(mm)} mm{power} ({in_px})"


def _dice(answer: InspectionAnswer) -> str:
    measured = answer.dice.measured
    facts = [("Estimated", _estimated(answer.dice.estimated))]
    if measured is None:
        facts.append(("Measured", "not measured, for there was no reference mask"))
    else:
        facts.append(("Measured, any defect", f"{measured.any_defect:.3f}"))
        per_class = measured.per_class or {}
        facts += [(f"Measured, {name}", f"{value:.3f}") for name, value in per_class.items()]
    return _facts(*facts)


def _estimated(dice: EstimatedDice) -> str:
    if dice.any_defect is None:
        return "none, for the mask is empty"
    between = "" if dice.low is None or dice.high is None else f", from {dice.low:.2f} to {dice.high:.2f}"
    return f"{dice.any_defect:.2f}{between}"


def _gate(scores: Mapping[str, float] | None, checks: Sequence[GateCheck]) -> str:
    if scores is None:
        return "<p>The bundle has none: nothing says whether the picture is like those of training.</p>"
    rows = [_gate_check(each, scores[each.score]) for each in checks]
    return _table(("Score", "Measured", "Allowed", "It is"), rows)


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


def _judged(answer: InspectionAnswer, origin: Origin) -> str:
    model = answer.model
    return _facts(
        ("Recipe", f"{answer.recipe}, version {answer.recipe_version}"),
        ("Image probability", number(answer.image_probability)),
        ("Its threshold", number(answer.image_threshold)),
        ("Head probability", number(answer.head_probability)),
        ("Head threshold", number(answer.head_threshold)),
        ("Pixel threshold", f"{number(origin.pixel_threshold)}, least area {origin.min_area_px} px²"),
        ("Model", f"{model.name} {model.version}, {model.artifact} on {model.execution_provider}"),
        ("Graph's SHA-256", _in_groups(origin.graph_sha256)),
    )


def _picture(answer: InspectionAnswer, origin: Origin) -> str:
    return _facts(
        ("File", origin.filename or "sent without a name"),
        ("Size", f"{answer.image.width} x {answer.image.height} px"),
        ("SHA-256", _in_groups(answer.image.sha256)),
        ("Inspection", answer.id),
        ("Request", origin.request_id),
    )


def _in_groups(sha256: str) -> str:
    """A hash as people compare it, eight digits at a time."""
    return " ".join(sha256[start : start + 8] for start in range(0, len(sha256), 8))


def _facts(*facts: tuple[str, str]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{_value(name, value)}</td></tr>" for name, value in facts)
    return f'<table class="facts">{rows}</table>'


def _value(name: str, value: str) -> str:
    return f"<code>{escape(value)}</code>" if name.endswith("SHA-256") else escape(value)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<table class="defects"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


def _items(texts: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"
