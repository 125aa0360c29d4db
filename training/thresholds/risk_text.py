"""Texts on the choice of an operating point, and its trade-off as a table."""

from app.inspection.rules.trade_off import By, PointChoice, TradeOff, TradeOffRow
from training.statistics import Figures, interval, trials_needed, upper_bound

UNITS: dict[By, str] = {"picture": "image", "group": "group"}


def met(table: TradeOff, row: TradeOffRow, choice: PointChoice) -> str:
    """The sentence for a limit that is proven."""
    limited, limit, other = _sides(choice)
    return (
        f"met: {limited} <= {_percent(limit)} at {_percent(table.confidence)}, "
        f"{_rate(table, row, other, choice.by)}, by {UNITS[choice.by]}; {_counts(table, row)}"
    )


def not_provable(table: TradeOff, row: TradeOffRow, choice: PointChoice) -> str:
    """The sentence for a limit that not even the strictest row proves."""
    limited, limit, other = _sides(choice)
    risk, trials = row.risk(choice.by), table.trials(choice.by)
    events, bound, number, kind = (
        (risk.escapes, risk.escape_bound, trials.defective, "defective")
        if limited == "escape"
        else (risk.overkills, risk.overkill_bound, trials.good, "good")
    )
    more = trials_needed(events, limit, table.confidence) - number
    return (
        f"not provable: {limited} <= {_percent(limit)} at {_percent(table.confidence)} with {number} {kind} "
        f"{UNITS[choice.by]}s: needs {more} more without an {limited}; best provable is {_percent(bound)}, "
        f"with {_rate(table, row, other, choice.by)}, by {UNITS[choice.by]}; {_counts(table, row)}"
    )


def promises_nothing(table: TradeOff, row: TradeOffRow, how: str, by: By) -> str:
    """The sentence for the threshold with the best `how`; its rates are optimistic and promise nothing."""
    rates = ", ".join(_rate(table, row, kind, by) for kind in ("escape", "overkill"))
    return f"best {how}, which promises nothing: {rates}, by {UNITS[by]}; {_counts(table, row)}"


def table_text(table: TradeOff) -> str:
    """The trade-off as a Markdown table: counted errors, and in brackets the bound of their rate."""
    picture, group = table.picture, table.group
    lines = [
        f"| image threshold | escapes of {picture.defective} images | overkills of {picture.good} "
        f"| escapes of {group.defective} groups | overkills of {group.good} |",
        "|---|---|---|---|---|",
    ]
    for row in table.rows:
        cells = [
            f"{count} (<= {_percent(bound)})"
            for risk in (row.picture, row.group)
            for count, bound in (
                (risk.escapes, risk.escape_bound),
                (risk.overkills, risk.overkill_bound),
            )
        ]
        lines.append(f"| {row.image_threshold:.4f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _sides(choice: PointChoice) -> tuple[str, float, str]:
    """The limited kind of error, its limit, and the other kind of error."""
    if choice.max_escape is not None:
        return "escape", choice.max_escape, "overkill"
    assert choice.max_overkill is not None
    return "overkill", choice.max_overkill, "escape"


def _rate(table: TradeOff, row: TradeOffRow, kind: str, by: By) -> str:
    risk, trials = row.risk(by), table.trials(by)
    count, number = (risk.escapes, trials.defective) if kind == "escape" else (risk.overkills, trials.good)
    low, high = interval(count, number, table.confidence)
    return f"{kind} {_percent(count / number)} [{_percent(low)}, {_percent(high)}]"


def _counts(table: TradeOff, row: TradeOffRow) -> str:
    """Counts by image and by group, because images of one part are not independent."""
    counts = []
    for by, unit in UNITS.items():
        risk, trials = row.risk(by), table.trials(by)
        counts.append(
            f"of {trials.defective} defective {unit}s {risk.escapes} escaped "
            f"(<= {_percent(risk.escape_bound)}), "
            f"of {trials.good} good {risk.overkills} overkilled (<= {_percent(risk.overkill_bound)})"
        )
    return "; ".join(counts)


def _percent(rate: float) -> str:
    return f"{100 * rate:.3g} %"


def certainty(test: Figures, confidence: float) -> str:
    """The confidence in the escape rate with the given number of parts, in one or two sentences.

    `test` has the figures of `summarise`. Parts, not images, count as independent.
    """
    parts = test["by_group"]["defective_groups"]
    bounds = test["by_group"]["intervals"]["escape_rate"]
    if not parts or bounds is None:
        return "No defective part was inspected, so the escape rate is unknown."
    low, high = (_percent(each) for each in bounds)
    return (
        f"{_percent(test['escape_rate']['value'])} of the defective images passed; over {parts} "
        f"defective parts, the {_percent(confidence)} interval is {low} to {high}. With {parts} parts and no "
        f"escape, a rate below {_percent(upper_bound(0, parts, confidence))} would be proven; proving 1 % "
        f"takes {trials_needed(0, 0.01, confidence)} parts."
    )
