"""The verdict, from measured defects and the recipe only."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.inspection.results import Defect, Findings, Reason, Rule, Severity, Unit, Verdict
from app.inspection.rules.limits import Density, Limits
from app.inspection.rules.recipe import Recipe

SEVEREST_FIRST: tuple[Severity, ...] = ("critical", "major", "minor")
# For each limit on single defects: rule, name of the limit, the measured field, unit.
SIZES: tuple[tuple[Rule, str, str, Unit], ...] = (
    ("max_area", "max_area_px", "area_px", "px2"),
    ("max_area", "max_area_mm2", "area_mm2", "mm2"),
    ("max_length", "max_length_px", "length_px", "px"),
    ("max_length", "max_length_mm", "length_mm", "mm"),
    ("max_width", "max_width_px", "width_px", "px"),
    ("max_width", "max_width_mm", "width_mm", "mm"),
)
DISTANCES: tuple[tuple[str, str, Unit], ...] = (
    ("min_distance_px", "nearest_px", "px"),
    ("min_distance_mm", "nearest_mm", "mm"),
)
MIN_EVENTS = 32  # processed at once; with fewer, the overhead of a round dominates


@dataclass(frozen=True)
class Group:
    """The defects of one class in the image or a zone, with their indices in the image's list.

    `alone`: the image or zone has no other defect of any class.
    """

    defect_class: str
    zone: str | None
    members: tuple[tuple[int, Defect], ...]
    alone: bool

    def reason(self, rule: Rule, measured: float, limit: float, unit: Unit, of: int | None = None) -> Reason:
        """A reason for a broken rule: by the defect with index `of`, or by all defects together."""
        return Reason(rule, self.defect_class, float(measured), float(limit), unit, self.zone, of)


def judge(
    findings: Findings,
    recipe: Recipe,
    severities: Mapping[str, Severity],
    doubts: tuple[Reason, ...] = (),
    outside_gate: tuple[Reason, ...] = (),
) -> tuple[Verdict, tuple[Reason, ...]]:
    """Compare the findings with the recipe's limits; `severities` are those of the bundle's classes.

    `fail`: a limit is exceeded. `review`: only a limit of a review block is exceeded, or a defect
    touches the border and the recipe has `border: review`. `doubts` turn a pass into a `review`,
    `outside_gate` turns any verdict into a `review`. Order of reasons: those of the gate, fail before
    review, the most severe class first, then the largest excess. Tighter limits or an additional defect
    never turn fail into pass. Raises ValueError if the findings were made with other zones.
    """
    if {zone.name for zone in findings.zones} != set(recipe.zones):
        raise ValueError("the defects must be found with the recipe's zones")
    broken = sorted(_broken(findings, recipe, severities), key=lambda each: _rank(each, severities))
    if outside_gate:
        return "review", (*outside_gate, *broken)
    if broken and broken[0].verdict == "fail":
        return "fail", tuple(broken)
    if broken or doubts:
        return "review", (*broken, *doubts)
    return "pass", ()


def doubts_about(
    unexplained_probability: float | None,
    head_threshold: float,
    estimated_dice: float | None,
    recipe: Recipe,
) -> tuple[Reason, ...]:
    """Reasons to review an image that would pass by its defects.

    `unexplained_probability` is the highest image-level probability of the inspected tiles without a
    defect: a defect explains a high probability of its own tiles, not of others.
    """
    doubts = []
    if unexplained_probability is not None and unexplained_probability >= head_threshold:
        doubts.append(
            Reason("head_without_mask", None, unexplained_probability, head_threshold, "probability")
        )
    least = recipe.min_estimated_dice
    if least is not None and estimated_dice is not None and estimated_dice < least:
        doubts.append(Reason("low_confidence", None, estimated_dice, least, "dice"))
    return tuple(doubts)


def _broken(findings: Findings, recipe: Recipe, severities: Mapping[str, Severity]) -> Iterator[Reason]:
    """A reason for each limit that is exceeded anywhere."""
    pitch = recipe.pixel_pitch_mm
    for group in _groups(findings, recipe):
        rules = recipe if group.zone is None else recipe.zones[group.zone]
        severity = severities[group.defect_class]
        fail = exceeded(group, rules.limits_of(group.defect_class, severity), pitch, "fail")
        yield from fail
        if rules.review is not None:
            told = {(each.rule, each.unit) for each in fail}
            review = exceeded(group, rules.review.limits_of(group.defect_class, severity), pitch, "review")
            yield from (each for each in review if (each.rule, each.unit) not in told)
        touching = [number for number, each in group.members if each.touches_border]
        if recipe.border == "review" and group.zone is None and touching:
            yield group.reason("border", len(touching), 0, "count", touching[0])


def _groups(findings: Findings, recipe: Recipe) -> Iterator[Group]:
    places: list[tuple[str | None, tuple[Defect, ...], Sequence[int]]] = [
        (None, findings.defects, range(len(findings.defects)))
    ]
    places += [(each.name, each.defects, each.parents) for each in findings.zones]
    for zone, defects, numbers in places:
        for name in dict.fromkeys(each.defect_class for each in defects):
            pairs = zip(numbers, defects, strict=True)
            members = tuple(pair for pair in pairs if pair[1].defect_class == name)
            yield Group(name, zone, members, len(defects) == 1)


def _rank(reason: Reason, severities: Mapping[str, Severity]) -> tuple[bool, int, float]:
    """Sort key: fail first, then the most severe class, then the largest ratio to the limit."""
    beyond, limit = reason.measured, reason.limit
    if reason.rule == "min_distance":
        beyond, limit = limit, beyond
    excess = beyond / limit if limit > 0 else float("inf")
    severity = severities[reason.defect_class or ""]
    return reason.verdict != "fail", SEVEREST_FIRST.index(severity), -excess


def exceeded(
    group: Group, limits: Limits | None, pitch: float | None, verdict: Literal["fail", "review"]
) -> list[Reason]:
    """One reason for each limit that the worst defect, or all defects together, exceed."""
    if limits is None:
        return []
    found = [*_count(group, limits), *_sizes(group, limits), *_total(group, limits, pitch)]
    found += [*_density(group, limits.max_density, pitch), *_distance(group, limits)]
    return [replace(each, verdict=verdict) for each in found]


def _count(group: Group, limits: Limits) -> Iterator[Reason]:
    if limits.max_count is not None and len(group.members) > limits.max_count:
        yield group.reason("max_count", len(group.members), limits.max_count, "count")


def _sizes(group: Group, limits: Limits) -> Iterator[Reason]:
    for rule, name, measure, unit in SIZES:
        limit = getattr(limits, name)
        if limit is not None:
            number, worst = _worst(group, measure, max)
            if _decimal(worst) > _decimal(limit):
                yield group.reason(rule, worst, limit, unit, number)


def _total(group: Group, limits: Limits, pitch: float | None) -> Iterator[Reason]:
    total = sum(each.area_px for _, each in group.members)
    if limits.max_total_area_px is not None and total > limits.max_total_area_px:
        yield group.reason("max_total_area", total, limits.max_total_area_px, "px2")
    if limits.max_total_area_mm2 is not None:
        in_mm2 = _decimal(total * _known(pitch) ** 2)
        if in_mm2 > _decimal(limits.max_total_area_mm2):
            yield group.reason("max_total_area", in_mm2, limits.max_total_area_mm2, "mm2")


def _density(group: Group, limit: Density | None, pitch: float | None) -> Iterator[Reason]:
    if limit is None or len(group.members) <= limit.count:
        return
    window = limit.window_px or _decimal((limit.window_mm or 0.0) / _known(pitch))
    most = most_in_window(np.array([each.centroid for _, each in group.members]), window)
    if most > limit.count:
        yield group.reason("max_density", most, limit.count, "count")


def _distance(group: Group, limits: Limits) -> Iterator[Reason]:
    for name, measure, unit in DISTANCES:
        limit = getattr(limits, name)
        if limit is not None and not group.alone:
            number, nearest = _worst(group, measure, min)
            if _decimal(nearest) < _decimal(limit):
                yield group.reason("min_distance", nearest, limit, unit, number)


def most_in_window(points: NDArray[np.float64], side: float) -> int:
    """Largest number of the points [N, 2] in any axis-parallel square with this side, border included.

    An optimal square can be moved until points lie on its left and top sides. A sweep over the left
    sides keeps a count for every top side. Points that enter or leave are processed in blocks: O(N^1.5)
    time.
    """
    (begin, end), (low, high) = (_holding(axis, side) for axis in points.T)
    events = np.argsort(np.concatenate((2 * begin + 1, 2 * end)), kind="stable")  # leave before enter
    most, counts = 0, np.zeros(len(points), dtype=np.int64)  # for each top side
    step = max(MIN_EVENTS, math.isqrt(len(points)))
    for start in range(0, len(events), step):
        some = events[start : start + step]
        came, point = np.where(some < len(points), 1, -1), some % len(points)
        tops = np.unique(np.concatenate(([0], low[point], high[point])))  # those between change equally
        tops = tops[tops < len(counts)]
        within = (low[point, None] <= tops) & (tops < high[point, None])
        changes = np.cumsum(np.where(within, came[:, None], 0), axis=0)
        most = max(most, int((np.maximum.reduceat(counts, tops) + changes).max()))
        counts += np.repeat(changes[-1], np.diff(tops, append=len(counts)))
    return most


def _holding(values: NDArray[np.float64], side: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For each value, the windows [v, v + side] that contain it, in order of v: first, last + 1."""
    begins = np.unique(values)
    first = np.searchsorted(begins + side, values, side="left")
    return first, np.searchsorted(begins, values, side="right")


def _worst(group: Group, measure: str, choose: Callable[[list[float]], float]) -> tuple[int, float]:
    """Index and value of the worst defect by one of its measures."""
    values = [getattr(each, measure) for _, each in group.members]
    if None in values:  # without them the verdict would be pass
        raise ValueError(f"the defects must be measured with the recipe's pixel pitch: {measure} is missing")
    worst = choose(values)
    return group.members[values.index(worst)][0], worst


def _known(pitch: float | None) -> float:
    if pitch is None:
        raise ValueError("a recipe with limits in mm must have a pixel pitch")
    return pitch


def _decimal(value: float) -> float:
    """Round to 9 digits: a binary fraction's error must not put a value at a limit beyond it."""
    return float(f"{value:.9g}")
