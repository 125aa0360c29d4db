"""Times of the database: microseconds since 1970 in UTC."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
DAY_US = 24 * HOUR_US


def to_us(when: datetime) -> int:
    """Microseconds of a time that has a time zone."""
    return (when - EPOCH) // MICROSECOND


def from_us(microseconds: int) -> datetime:
    """The time, in UTC."""
    return EPOCH + microseconds * MICROSECOND


def now_us() -> int:
    """The time of the wall clock."""
    return to_us(datetime.now(UTC))
