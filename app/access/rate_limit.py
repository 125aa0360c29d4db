"""How often one caller may ask: a token bucket for each."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from app.errors import RateLimited

MOST_CALLERS = 4096  # kept at once; beyond, the one not seen for longest starts anew


class RateLimit:
    """Lets each caller ask `per_minute` times at once, and then as fast as that number comes back."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = float(per_minute)
        self._per_second = per_minute / 60
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and since when

    def take(self, caller: str) -> None:
        """Count one request; raises RateLimited with the seconds after which there is room."""
        now = self._clock()
        left, since = self._buckets.pop(caller, (self._size, now))
        left = min(self._size, left + (now - since) * self._per_second)
        if left >= 1:
            self._keep(caller, left - 1, now)
            return
        self._keep(caller, left, now)
        wait = math.ceil((1 - left) / self._per_second)
        raise RateLimited(
            f"{self._size:.0f} requests a minute are taken from one caller; ask again in {wait} s", wait
        )

    def _keep(self, caller: str, left: float, now: float) -> None:
        self._buckets[caller] = (left, now)
        if len(self._buckets) > MOST_CALLERS:
            self._buckets.popitem(last=False)
