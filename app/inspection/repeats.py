"""Find values that occur more than once where each may occur only once."""

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


def repeated(given: Iterable[T]) -> list[T]:
    """The values that occur more than once, each listed once, in the order of first occurrence."""
    return [each for each, count in Counter(given).items() if count > 1]
