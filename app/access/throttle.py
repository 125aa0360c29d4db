"""Log-ins slow down after failures, by name and address, so that passwords cannot be tried out."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from app.access_errors import LoginThrottled

FREE = 3  # attempts without delay: people mistype
MAX_DELAY_S = 300
# To push an entry out, an attacker needs as many attempts, each with the slow check of a password.
MAX_ENTRIES = 4096


@dataclass(slots=True)
class _Entry:
    attempts: int = 0
    free_at: float = 0.0


class Throttle:
    """Attempts by name and address; one address never delays the same name at another."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def begin(self, name: str, address: str) -> None:
        """Count an attempt before its password is checked, so that parallel ones do not slip through.

        Raises LoginThrottled while the delay of the attempts before has not passed.
        """
        key, now = (name.lower(), address), self._clock()
        entry = self._entries.setdefault(key, _Entry())
        if entry.free_at > now:
            wait = int(entry.free_at - now) + 1
            raise LoginThrottled(f"too many attempts to log in as this user; wait {wait} s", wait)
        entry.attempts += 1
        if entry.attempts > FREE:
            entry.free_at = now + min(2 ** min(entry.attempts - FREE, 10), MAX_DELAY_S)
        self._entries.move_to_end(key)
        while len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the attempts: the password was right."""
        self._entries.pop((name.lower(), address), None)
