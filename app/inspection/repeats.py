"""What is given more than once where each may be given once."""

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


def repeated(given: Iterable[T]) -> list[T]:
    """Each that occurs more than once, named once, in the order of first occurrence."""
    return [each for each, count in Counter(given).items() if count > 1]
