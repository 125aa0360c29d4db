"""Statistics of a period: yield, defect classes, control chart, durations, and rates in operation.

Counts come from the hourly tables, so a period begins and ends on full hours of UTC. All of it blocks.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import ColumnElement, Connection, RowMapping, Table, func, select

from app.database.connection import Database
from app.database.tables import HOURLY, HOURLY_CLASSES, INSPECTIONS, REVIEWS
from app.database.times import HOUR_US, from_us, to_us
from app.history.hourly import NONE
from app.history.rates import Rate, Stratum, rates_of
from app.schemas.statistics import (
    CameraCounts,
    ClassCount,
    Counts,
    Latency,
    PChart,
    PPoint,
    RateAnswer,
    RatesAnswer,
    SeriesPoint,
    Statistics,
)

Step = Literal["hour", "day", "shift"]
LATEST = 5000  # inspections whose durations are compared
SIGMA = 3  # of the control limits
C = INSPECTIONS.c


@dataclass(frozen=True, slots=True)
class Period:
    """What statistics are of; no cameras or recipes: of all."""

    since: datetime
    until: datetime
    step: Step
    cameras: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    bundles: tuple[str, ...] = ()  # NAME/VERSION


@dataclass(frozen=True, slots=True)
class Calendar:
    """Where days and shifts begin: local times, in a time zone."""

    zone: ZoneInfo
    shifts: tuple[time, ...]

    def start_of(self, step: Step) -> Callable[[int], datetime]:
        """The start of the hour, day or shift that an hour (microseconds) is in."""
        return {"hour": from_us, "day": self._day, "shift": self._shift}[step]

    def _day(self, hour_us: int) -> datetime:
        local = from_us(hour_us).astimezone(self.zone)
        return local.replace(hour=0, minute=0, second=0, microsecond=0)

    def _shift(self, hour_us: int) -> datetime:
        local = from_us(hour_us).astimezone(self.zone)
        for day in (local.date(), local.date() - timedelta(days=1)):
            for start in sorted(self.shifts, reverse=True):
                begun = datetime.combine(day, start, self.zone)
                if begun <= local:
                    return begun
        raise ValueError("a calendar has at least one shift")


def statistics(database: Database, period: Period, calendar: Calendar) -> Statistics:
    """Everything of one period; raises DatabaseUnusable."""
    with database.reading() as connection:
        hours = _summed(connection, HOURLY, period, "hour_us", "verdict")
        by_camera = _summed(connection, HOURLY, period, "camera_id", "verdict")
        by_class = _summed(connection, HOURLY_CLASSES, period, "hour_us", "class_name")
        durations = _durations(connection, period)
        sampled = _sampled(connection, period)
    start_of = calendar.start_of(period.step)
    series = _series(hours, by_class, start_of)
    total = _counts(hours)
    classes = Counter[str]()
    for row in by_class:
        classes[row["class_name"]] += row["count"]
    return Statistics(
        counts=total,
        series=series,
        classes=[ClassCount(name=name, count=count) for name, count in classes.most_common()],
        cameras=_cameras(by_camera),
        p_chart=p_chart(series),
        latency_ms=_latency(durations),
        rates=_rates(total, sampled),
    )


def _summed(connection: Connection, table: Table, period: Period, *by: str) -> Sequence[RowMapping]:
    """The columns of an hourly table that are not part of its key, summed by some of those that are."""
    keys = [table.c[name] for name in by]
    sums = [func.sum(column).label(column.name) for column in table.c if not column.primary_key]
    grouped = select(*keys, *sums).where(*_in_hours(table, period)).group_by(*keys)
    return connection.execute(grouped).mappings().all()


def _in_hours(table: Table, period: Period) -> Iterator[ColumnElement[bool]]:
    yield table.c.hour_us >= to_us(period.since) // HOUR_US * HOUR_US
    yield table.c.hour_us < to_us(period.until)
    if period.cameras:
        yield table.c.camera_id.in_(period.cameras)
    if period.recipes:
        yield table.c.recipe.in_(period.recipes)
    if period.bundles and "bundle" in table.c:
        yield table.c.bundle.in_(period.bundles)


def _in_rows(period: Period) -> Iterator[ColumnElement[bool]]:
    yield C.time_us >= to_us(period.since) // HOUR_US * HOUR_US
    yield C.time_us < to_us(period.until)
    for column, values in (
        (C.camera_id, period.cameras),
        (C.recipe, period.recipes),
        (C.bundle + "/" + C.bundle_version, period.bundles),
    ):
        if values:
            yield column.in_(values)


def _counts(rows: Any) -> Counts:
    found = Counter[str]()
    for row in rows:
        found[row["verdict"]] += row["count"]
    return Counts(passed=found["pass"], failed=found["fail"], review=found["review"])


def _series(hours: Any, by_class: Any, start_of: Callable[[int], datetime]) -> list[SeriesPoint]:
    rows, spent = defaultdict[datetime, list[Any]](list), Counter[datetime]()
    classes: dict[datetime, Counter[str]] = defaultdict(Counter)
    for row in hours:
        start = start_of(row["hour_us"])
        rows[start].append(row)
        spent[start] += row["total_ms"]
    for row in by_class:
        classes[start_of(row["hour_us"])][row["class_name"]] += row["count"]
    points = []
    for start in sorted(rows):
        counts = _counts(rows[start])
        points.append(
            SeriesPoint(
                time=start,
                counts=counts,
                mean_ms=round(spent[start] / counts.all, 3),
                classes=dict(classes[start]),
            )
        )
    return points


def _cameras(by_camera: Any) -> list[CameraCounts]:
    rows: dict[str, list[Any]] = defaultdict(list)
    for row in by_camera:
        rows[row["camera_id"]].append(row)
    return [
        CameraCounts(camera_id=None if name == NONE else name, counts=_counts(rows[name]))
        for name in sorted(rows)
    ]


def p_chart(series: list[SeriesPoint]) -> PChart | None:
    """A control chart of the share that does not pass (Montgomery, Statistical Quality Control, chapter 7).

    The limits are the mean share and three standard deviations of a binomial share of that many
    inspections around it. None without inspections.
    """
    total = sum(point.counts.all for point in series)
    if not total:
        return None
    centre = sum(point.counts.all - point.counts.passed for point in series) / total
    points = []
    for point in series:
        n = point.counts.all
        share, room = (n - point.counts.passed) / n, SIGMA * math.sqrt(centre * (1 - centre) / n)
        low, high = max(0.0, centre - room), min(1.0, centre + room)
        outside = not low <= share <= high
        points.append(PPoint(time=point.time, n=n, share=share, low=low, high=high, outside=outside))
    return PChart(centre=centre, points=points)


def _durations(connection: Connection, period: Period) -> list[float]:
    latest = select(C.total_ms).where(*_in_rows(period)).order_by(C.time_us.desc()).limit(LATEST)
    return list(connection.scalars(latest))


def _latency(durations: list[float]) -> Latency | None:
    if not durations:
        return None
    p50, p95, p99 = (round(float(each), 3) for each in np.quantile(durations, (0.5, 0.95, 0.99)))
    return Latency(p50=p50, p95=p95, p99=p99, inspections=len(durations))


def _sampled(connection: Connection, period: Period) -> list[Any]:
    """The random sample of the period, each with the verdict of its review in force, if any."""
    taken_back = select(REVIEWS.c.withdraws).where(REVIEWS.c.withdraws.is_not(None))
    standing = (REVIEWS.c.withdraws.is_(None), REVIEWS.c.number.not_in(taken_back))
    last = (
        select(REVIEWS.c.verdict)
        .where(REVIEWS.c.inspection_id == C.id, *standing)
        .order_by(REVIEWS.c.number.desc())
        .limit(1)
        .scalar_subquery()
    )
    drawn = select(C.verdict, C.sample_weight, last.label("truth")).where(
        C.sample_weight.is_not(None), *_in_rows(period)
    )
    return list(connection.execute(drawn).mappings())


def _rates(total: Counts, sampled: list[Mapping[str, Any]]) -> RatesAnswer:
    reviews: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for row in sampled:
        if row["truth"] is not None:
            reviews[row["verdict"]].append((row["sample_weight"], row["truth"] == "fail"))
    numbers = {"pass": total.passed, "fail": total.failed, "review": total.review}
    strata = {name: Stratum(number, reviews[name]) for name, number in numbers.items() if number}
    found = rates_of(strata, len(sampled))
    return RatesAnswer(
        escape=_rate(found.escape),
        overkill=_rate(found.overkill),
        drawn=len(sampled),
        reviewed=sum(map(len, reviews.values())),
        why=found.why,
    )


def _rate(rate: Rate | None) -> RateAnswer | None:
    return None if rate is None else RateAnswer(value=rate.value, low=rate.low, high=rate.high)
