"""What each image threshold costs in escapes and overkills, and picking a threshold by what it may cost.

The bounds are exact one-sided binomial ones (Clopper and Pearson, 1934) at the table's confidence. The escape
bound rises with the threshold, so the rows within a limit are found by a walk from the strictest row that
stops at the first one beyond it: fixed-sequence testing, which needs no correction for the number of rows
(Angelopoulos et al., *Learn then Test*, arXiv 2110.01052). The overkill bound is walked from the other end.
"""

from itertools import pairwise, takewhile
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.inspection.errors import RecipeInvalid
from app.inspection.rules.limits import Strict, misplaced

Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, le=1)]
By = Literal["group", "picture"]
Mode = Literal["max-escape", "max-overkill", "max-f1", "cost"]


class PointChoice(Strict):
    """Another image threshold than the bundle's own: by what it may cost, or outright."""

    max_escape: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The largest proven escape rate; the threshold that keeps it with the fewest overkills is taken."""
    max_overkill: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The largest proven overkill rate; the threshold that keeps it with the fewest escapes is taken."""
    image_threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    """The threshold itself."""
    by: Literal["group", "picture"] = "group"
    """How `max_escape` and `max_overkill` are counted."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> "PointChoice":
        if [self.max_escape, self.max_overkill, self.image_threshold].count(None) != 2:
            raise ValueError("set exactly one of max_escape, max_overkill, image_threshold")
        # Its default is let pass: a recipe that is read back has every default written out.
        if self.image_threshold is not None and self.by != "group":
            raise misplaced("says how a rate is counted, and image_threshold is none; leave it out", "by")
        return self

    @property
    def asked(self) -> str:
        """Name of the one that is set."""
        names = ("max_escape", "max_overkill", "image_threshold")
        return next(name for name in names if getattr(self, name) is not None)


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Risk(_Stored):
    """Escapes and overkills at one threshold, and what their rates are below at the table's confidence."""

    escapes: Count
    escape_bound: Rate
    overkills: Count
    overkill_bound: Rate


class Trials(_Stored):
    """How many defective and how many good ones were counted."""

    defective: Annotated[int, Field(ge=1)]
    good: Annotated[int, Field(ge=1)]


class TradeOffRow(_Stored):
    """One image threshold with its risk, counted by image and by group.

    A group escapes if any of its defective images does, and is overkilled if any of its good ones is.
    """

    image_threshold: Annotated[float, Field(gt=0, le=1)]
    picture: Risk
    group: Risk

    def risk(self, by: By) -> Risk:
        """The risk as counted by one or the other."""
        return self.group if by == "group" else self.picture


class TradeOff(_Stored):
    """The image thresholds worth choosing, rising, as counted on the calibration split.

    A threshold that another beats in escapes or overkills and equals in the other is left out, and so is one
    that passes no good image or catches no defective one.
    """

    confidence: Annotated[float, Field(gt=0, lt=1)]
    picture: Trials
    group: Trials
    rows: Annotated[tuple[TradeOffRow, ...], Field(min_length=1)]

    def trials(self, by: By) -> Trials:
        """What the risks of the rows are counted of."""
        return self.group if by == "group" else self.picture

    @model_validator(mode="after")
    def _bounds_move_with_the_threshold(self) -> "TradeOff":
        for low, high in pairwise(self.rows):
            if low.image_threshold >= high.image_threshold:
                raise ValueError("the image thresholds of rows must rise")
            for before, after in ((low.picture, high.picture), (low.group, high.group)):
                if before.escape_bound > after.escape_bound or before.overkill_bound < after.overkill_bound:
                    raise ValueError("with the image threshold escape bounds rise and overkill bounds fall")
        return self


class Chosen(_Stored):
    """What was asked of an operating point, and what came of it.

    `target` is the rate that was to be proven, None where the mode promises none, as `met` is then.
    """

    mode: Mode
    target: Rate | None
    confidence: Annotated[float, Field(gt=0, lt=1)]
    by: By
    met: bool | None
    sentence: str


def pick(table: TradeOff, choice: PointChoice) -> TradeOffRow | None:
    """The row that is proven to keep the choice's limit and errs least the other way; None without one."""
    by = choice.by
    if choice.max_escape is not None:
        most = choice.max_escape
        proven = list(takewhile(lambda row: row.risk(by).escape_bound <= most, table.rows))
    else:
        assert choice.max_overkill is not None
        most = choice.max_overkill
        proven = list(takewhile(lambda row: row.risk(by).overkill_bound <= most, reversed(table.rows)))
    # The last row walked to has the fewest errors of the other kind; among equals the strictest is the best.
    return min(proven, key=lambda row: _other_way(row, choice), default=None)


def strictest(table: TradeOff, choice: PointChoice) -> TradeOffRow:
    """The row with the lowest bound on what the choice limits."""
    return table.rows[0 if choice.max_escape is not None else -1]


def resolve(choice: PointChoice, table: TradeOff | None) -> float:
    """The image threshold that a recipe asks for; raises RecipeInvalid saying what would be possible."""
    if table is None:
        raise RecipeInvalid(
            "operating_point: the bundle holds no trade-off table, so that the risk of no other threshold is "
            "known; leave operating_point out"
        )
    if choice.image_threshold is not None:
        return _within(choice.image_threshold, table)
    row = pick(table, choice)
    if row is None:
        risk, trials = strictest(table, choice).risk(choice.by), table.trials(choice.by)
        name, most, best, number, kind = (
            ("max_escape", choice.max_escape, risk.escape_bound, trials.defective, "defective")
            if choice.max_escape is not None
            else ("max_overkill", choice.max_overkill, risk.overkill_bound, trials.good, "good")
        )
        units = "images" if choice.by == "picture" else "groups"
        raise RecipeInvalid(
            f"operating_point.{name}: {most:g} is not proven; the best possible is {best:.4f}, at "
            f"{table.confidence:.0%} confidence with {number} {kind} {units}"
        )
    return row.image_threshold


def _within(threshold: float, table: TradeOff) -> float:
    """The threshold, if between the table's first and last: beyond them nearly all is called the same."""
    low, high = table.rows[0].image_threshold, table.rows[-1].image_threshold
    if not low <= threshold <= high:
        raise RecipeInvalid(
            f"operating_point.image_threshold: {threshold:g} is beyond the trade-off table, which goes from "
            f"{low:g} to {high:g}"
        )
    return threshold


def _other_way(row: TradeOffRow, choice: PointChoice) -> tuple[int, ...]:
    risks = (row.risk(choice.by), row.picture)
    if choice.max_escape is not None:
        return tuple(count for each in risks for count in (each.overkills, each.escapes))
    return tuple(count for each in risks for count in (each.escapes, each.overkills))
