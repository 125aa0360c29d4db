"""Escapes and overkills for each image threshold, and the choice of a threshold by allowed rates.

The bounds are exact one-sided binomial ones (Clopper and Pearson, 1934) at the table's confidence. The
escape bound rises with the threshold. So the rows within a limit are found by testing from the strictest
row on and stopping at the first row above the limit: fixed-sequence testing, which needs no correction
for the number of rows (Angelopoulos et al., *Learn then Test*, arXiv 2110.01052). Overkill bounds are
tested from the other end.
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
    """An image threshold other than the bundle's own: by an allowed rate, or directly."""

    max_escape: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Allowed escape rate: the threshold proven to keep it with the fewest overkills is used."""
    max_overkill: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Allowed overkill rate: the threshold proven to keep it with the fewest escapes is used."""
    image_threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    """The threshold itself."""
    by: Literal["group", "picture"] = "group"
    """Whether `max_escape` and `max_overkill` count groups or images."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> "PointChoice":
        if [self.max_escape, self.max_overkill, self.image_threshold].count(None) != 2:
            raise ValueError("set exactly one of max_escape, max_overkill, image_threshold")
        # The default is accepted: a stored recipe has every default written out.
        if self.image_threshold is not None and self.by != "group":
            raise misplaced("says how a rate is counted; leave it out with image_threshold", "by")
        return self

    @property
    def asked(self) -> str:
        """Name of the field that is set."""
        names = ("max_escape", "max_overkill", "image_threshold")
        return next(name for name in names if getattr(self, name) is not None)


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Risk(_Stored):
    """Escapes and overkills at one threshold, with upper bounds of their rates at the confidence."""

    escapes: Count
    escape_bound: Rate
    overkills: Count
    overkill_bound: Rate


class Trials(_Stored):
    """The numbers of defective and good images or groups counted."""

    defective: Annotated[int, Field(ge=1)]
    good: Annotated[int, Field(ge=1)]


class TradeOffRow(_Stored):
    """One image threshold with its risk, counted by image and by group.

    A group is an escape if any of its defective images is one, an overkill if any of its good images is
    one.
    """

    image_threshold: Annotated[float, Field(gt=0, le=1)]
    picture: Risk
    group: Risk

    def risk(self, by: By) -> Risk:
        """The risk counted by image or by group."""
        return self.group if by == "group" else self.picture


class TradeOff(_Stored):
    """The useful image thresholds in rising order, counted on the calibration split.

    Left out are dominated thresholds, for which another has fewer escapes or overkills and not more of
    the other, and those that pass no good image or find no defective image.
    """

    confidence: Annotated[float, Field(gt=0, lt=1)]
    picture: Trials
    group: Trials
    rows: Annotated[tuple[TradeOffRow, ...], Field(min_length=1)]

    def trials(self, by: By) -> Trials:
        """The numbers of images or groups that the rows' risks refer to."""
        return self.group if by == "group" else self.picture

    @model_validator(mode="after")
    def _bounds_move_with_the_threshold(self) -> "TradeOff":
        for low, high in pairwise(self.rows):
            if low.image_threshold >= high.image_threshold:
                raise ValueError("the image thresholds of rows must increase")
            for before, after in ((low.picture, high.picture), (low.group, high.group)):
                if before.escape_bound > after.escape_bound or before.overkill_bound < after.overkill_bound:
                    raise ValueError("with the threshold, escape bounds rise and overkill bounds fall")
        return self


class Chosen(_Stored):
    """How an operating point was chosen, and whether its target was met.

    `target` is the rate to be proven. `target` and `met` are None if the mode has no target.
    """

    mode: Mode
    target: Rate | None
    confidence: Annotated[float, Field(gt=0, lt=1)]
    by: By
    met: bool | None
    sentence: str


def pick(table: TradeOff, choice: PointChoice) -> TradeOffRow | None:
    """The row proven to keep the chosen rate with the fewest errors of the other kind, or None."""
    by = choice.by
    if choice.max_escape is not None:
        most = choice.max_escape
        proven = list(takewhile(lambda row: row.risk(by).escape_bound <= most, table.rows))
    else:
        assert choice.max_overkill is not None
        most = choice.max_overkill
        proven = list(takewhile(lambda row: row.risk(by).overkill_bound <= most, reversed(table.rows)))
    # The last proven row has the fewest errors of the other kind; among equals, the strictest is best.
    return min(proven, key=lambda row: _other_way(row, choice), default=None)


def strictest(table: TradeOff, choice: PointChoice) -> TradeOffRow:
    """The row with the lowest bound of the rate that the choice limits."""
    return table.rows[0 if choice.max_escape is not None else -1]


def resolve(choice: PointChoice, table: TradeOff | None) -> float:
    """The image threshold that a recipe asks for; RecipeInvalid says what would be possible."""
    if table is None:
        raise RecipeInvalid(
            "operating_point: the bundle holds no trade-off table, so the risk of other thresholds is "
            "unknown; leave operating_point out"
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
    """The threshold, if within the table: outside it, nearly all images get the same verdict."""
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
