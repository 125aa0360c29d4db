"""What a thread is given to do: one picture, what judges it, and until when that is of use."""

import math
import threading
import time
from dataclasses import dataclass, field

from app.api.uploads import Upload
from app.errors import DeadlineExceeded
from app.inspection.inspector import Inspector
from app.inspection.rules.recipe import Recipe
from app.schemas.inspections import Options


@dataclass(frozen=True, slots=True)
class Order:
    """One picture to be judged; both times are in the clock of `time.perf_counter`."""

    inspector: Inspector
    recipe: Recipe
    upload: Upload
    options: Options
    placed: float = field(default_factory=time.perf_counter)
    useless_after: float = math.inf
    recipe_version: int = 1
    abandoned: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise DeadlineExceeded once nobody waits any more: the thread is needed for others."""
        if self.abandoned.is_set() or time.perf_counter() > self.useless_after:
            raise DeadlineExceeded("the inspection was not done by the deadline; it was not judged")
