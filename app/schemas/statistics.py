"""Shapes of the statistics of a period."""

from pydantic import AwareDatetime, Field

from app.schemas.inspections import Shape


class Counts(Shape):
    """Inspections by verdict."""

    passed: int
    failed: int
    review: int

    @property
    def all(self) -> int:
        """Their number."""
        return self.passed + self.failed + self.review


class SeriesPoint(Shape):
    """One hour, day or shift with inspections."""

    time: AwareDatetime = Field(description="When it began.")
    counts: Counts
    mean_ms: float = Field(description="Mean duration of an inspection, in milliseconds.")
    classes: dict[str, int] = Field(description="Images with a defect of the class.")


class ClassCount(Shape):
    """Images with a defect of one class."""

    name: str
    count: int


class CameraCounts(Shape):
    """Inspections of one camera; null for those that name none."""

    camera_id: str | None
    counts: Counts


class PPoint(Shape):
    """One point of the control chart: the share of `n` inspections that did not pass, and its limits."""

    time: AwareDatetime
    n: int
    share: float
    low: float
    high: float
    outside: bool = Field(description="Whether the share is outside the limits.")


class PChart(Shape):
    """A control chart of the share that did not pass; `centre` is that of the whole period."""

    centre: float
    points: list[PPoint]


class Latency(Shape):
    """Quantiles of the duration of the period's last inspections, in milliseconds."""

    p50: float
    p95: float
    p99: float
    inspections: int


class RateAnswer(Shape):
    """An estimated rate with its 95 % interval."""

    value: float
    low: float
    high: float


class RatesAnswer(Shape):
    """Rates in operation, estimated from the reviews of the random sample."""

    escape: RateAnswer | None = Field(description="Of defective parts, those passed.")
    overkill: RateAnswer | None = Field(description="Of good parts, those failed.")
    drawn: int = Field(description="Inspections of the sample.")
    reviewed: int = Field(description="Those of them that are reviewed.")
    why: str | None = Field(description="Why there are no rates; null if there are.")


class Statistics(Shape):
    """Statistics of one period."""

    counts: Counts
    series: list[SeriesPoint]
    classes: list[ClassCount] = Field(description="The most frequent first.")
    cameras: list[CameraCounts]
    p_chart: PChart | None = Field(description="null without inspections.")
    latency_ms: Latency | None
    rates: RatesAnswer
