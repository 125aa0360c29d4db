"""How long the steps of one inspection took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Timings:
    """Milliseconds spent per step of one inspection."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time spent in the `with` block to a step."""
        start = time.perf_counter()
        yield
        self.ms[name] = self.ms.get(name, 0.0) + (time.perf_counter() - start) * 1000
