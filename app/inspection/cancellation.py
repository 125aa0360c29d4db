"""Whether the result of an inspection is still wanted: asked between its steps, and told to native code.

A `Cancellation` is an argument of the inspection. It is never stored on an object that inspections share.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

Stop = Callable[[], object]


class Cancelled(Exception):  # it is no fault of the inspection
    """The result is not wanted any more, so the inspection has ended."""


class Cancellation:
    """A deadline, in seconds of `time.perf_counter`, and a caller that may leave; any thread may use it.

    `error` makes the exception that ends the inspection.
    """

    def __init__(
        self,
        deadline: float = math.inf,
        error: Callable[[], Exception] = lambda: Cancelled("the inspection was cancelled"),
    ) -> None:
        self._deadline = deadline
        self._error = error
        self._lock = threading.Lock()
        self._is_cancelled = False
        self._stops: list[Stop] = []

    def cancel(self) -> None:
        """End the inspection: at its next check, and at once in native code that can be interrupted."""
        with self._lock:
            self._is_cancelled = True
            stops, self._stops = self._stops, []
            for stop in stops:
                stop()

    @property
    def is_over(self) -> bool:
        """Whether the caller is gone or the deadline has passed."""
        return self._is_cancelled or time.perf_counter() > self._deadline

    def check(self) -> None:
        """Raise the error if the result is not wanted any more."""
        if self.is_over:
            raise self._error()

    @contextmanager
    def interrupting(self, stop: Stop) -> Iterator[None]:
        """Let `cancel` call `stop`, from its own thread, while the `with` block runs native code.

        `stop` must be quick and must not raise. It is not called after the block. A deadline alone does not
        call it: whoever sets one calls `cancel` when it passes.
        """
        with self._lock:
            if self._is_cancelled:
                stop()
            self._stops.append(stop)
        try:
            yield
        finally:
            with self._lock:
                if stop in self._stops:
                    self._stops.remove(stop)


NEVER = Cancellation()  # for callers that wait for the result whatever happens; nobody cancels it


@contextmanager
def interrupting_all(cancellations: Sequence[Cancellation], stop: Stop) -> Iterator[None]:
    """As `interrupting`, for work that several callers share: `stop` is called once all of them have left."""
    left = len(cancellations)
    lock = threading.Lock()

    def one_less() -> None:
        nonlocal left
        with lock:
            left -= 1
            if left == 0:
                stop()

    with ExitStack() as stack:
        for each in cancellations:
            stack.enter_context(each.interrupting(one_less))
        yield
