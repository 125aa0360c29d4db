"""Micro-batching: tiles of several threads run together as soon as a lane is free.

A lane is a slot for one model run. There are no worker threads. A calling thread takes a free lane,
gathers the tiles that wait at that moment, its own and others', up to the largest batch, and runs them.
If all lanes are taken, it waits until another thread has run its tiles or a lane is free. So no tile
waits for a batch to fill.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.inspection.cancellation import Cancellation, Stop, interrupting_all
from app.inspection.errors import InferenceFailed

Rooms = Sequence[NDArray[Any]]
Interrupting = Callable[[Stop], AbstractContextManager[None]]  # calls Stop once nobody wants the answers
Run = Callable[[NDArray[np.uint8], Interrupting], Rooms]  # tiles [n, ...] -> arrays of n answers each


@dataclass(eq=False, slots=True)
class _Wish:
    """A caller's tiles and its output buffers."""

    tiles: NDArray[np.uint8]
    rooms: Rooms
    cancellation: Cancellation
    taken: int = 0
    answered: int = 0
    error: BaseException | None = None
    has_left: bool = False

    @property
    def is_over(self) -> bool:
        return self.has_left or self.error is not None or self.answered == len(self.tiles)


@dataclass(frozen=True, slots=True)
class _Part:
    """Some of a caller's tiles that run in one batch."""

    wish: _Wish
    place: slice

    @property
    def tiles(self) -> NDArray[np.uint8]:
        return self.wish.tiles[self.place]


@dataclass(frozen=True, slots=True)
class Way:
    """A run function and its largest batch in tiles."""

    run: Run
    max_batch: int


class Batcher:
    """Runs tiles for any number of threads, at most `count` batches at a time.

    `few` is used while there are fewer callers (images) than lanes, else `many`.
    """

    def __init__(self, count: int, few: Way, many: Way) -> None:
        self._count = self._free = count
        self._present = 0  # callers, each with one image
        self._few = few
        self._many = many
        self._turn = threading.Condition()
        self._waiting: deque[_Wish] = deque()

    def run(self, tiles: NDArray[np.uint8], rooms: Rooms, cancellation: Cancellation) -> None:
        """Run tiles and write their answers into `rooms`, arrays whose first axis is that of the tiles.

        `cancellation` is checked before each batch, on any thread, and interrupts a batch whose callers have
        all left. Raises its error, and InferenceFailed.
        """
        wish = _Wish(tiles, rooms, cancellation)
        with self._turn:
            self._waiting.append(wish)
            self._present += 1
        try:
            while (taken := self._take_a_lane(wish)) is not None:
                try:
                    self._work(*taken)
                finally:
                    self._leave_the_lane()
        finally:
            with self._turn:
                self._forget(wish)
                self._present -= 1
                error, wish.error = wish.error, None  # else its traceback would hold itself, and the image
                wish.has_left = True
        if error is not None:
            try:
                raise error
            finally:
                del error

    @contextmanager
    def only(self, number: int) -> Iterator[None]:
        """In the `with` block, always use one way: `few` for an even number, `many` for an odd one."""
        before, chosen = (self._few, self._many), (self._few, self._many)[number % 2]
        self._few = self._many = chosen
        try:
            yield
        finally:
            self._few, self._many = before

    def _take_a_lane(self, wish: _Wish) -> tuple[Run, list[_Part]] | None:
        """Wait for a free lane; return the run function and gathered tiles, None if the wish is done."""
        with self._turn:
            self._turn.wait_for(lambda: wish.is_over or (self._free and wish in self._waiting))
            if wish.is_over:
                return None
            way = self._few if self._present < self._count else self._many
            self._free -= 1
            return way.run, self._gather(way.max_batch)

    def _leave_the_lane(self) -> None:
        with self._turn:
            self._free += 1
            self._turn.notify_all()

    def _gather(self, room: int) -> list[_Part]:
        """Take waiting tiles, first come first served; a caller with tiles left goes to the end."""
        parts: list[_Part] = []
        while room and self._waiting:
            wish = self._waiting.popleft()
            stop = min(wish.taken + room, len(wish.tiles))
            parts.append(_Part(wish, slice(wish.taken, stop)))
            room -= stop - wish.taken
            wish.taken = stop
            if stop < len(wish.tiles):
                self._waiting.append(wish)
        return parts

    def _work(self, run: Run, parts: list[_Part]) -> None:
        """Run parts in one batch; if it fails, run them one by one, so that only a faulty part fails."""
        try:
            parts = [part for part in parts if self._is_wanted(part.wish)]
            if parts:
                cancellations = [part.wish.cancellation for part in parts]
                self._hand_out(parts, run(_joined(parts), partial(interrupting_all, cancellations)))
        except InferenceFailed as error:
            parts = [part for part in parts if self._is_wanted(part.wish)]
            if len(parts) > 1:
                self._one_by_one(run, parts)
            else:
                self._fail(parts, error)
        except BaseException as error:
            self._fail(parts, error)  # otherwise their threads would wait without end
            if not isinstance(error, Exception):
                raise

    def _one_by_one(self, run: Run, parts: list[_Part]) -> None:
        try:
            for part in parts:
                self._work(run, [part])
        except BaseException as error:
            self._fail(parts, error)
            raise

    def _hand_out(self, parts: list[_Part], found: Rooms) -> None:
        start = 0
        for part in parts:
            stop = start + len(part.tiles)
            for room, given in zip(part.wish.rooms, found, strict=True):
                room[part.place] = given[start:stop]
            start = stop
        with self._turn:
            for part in parts:
                part.wish.answered += len(part.tiles)

    def _is_wanted(self, wish: _Wish) -> bool:
        try:
            wish.cancellation.check()
        except Exception as error:  # noqa: BLE001  # passed on to the caller's own thread
            self._give_up(wish, error)
        return wish.error is None

    def _fail(self, parts: list[_Part], error: BaseException) -> None:
        for part in parts:
            self._give_up(part.wish, error)

    def _give_up(self, wish: _Wish, error: BaseException) -> None:
        with self._turn:
            if not wish.is_over:
                wish.error = error
                self._forget(wish)

    def _forget(self, wish: _Wish) -> None:
        if wish in self._waiting:
            self._waiting.remove(wish)


def _joined(parts: list[_Part]) -> NDArray[np.uint8]:
    return parts[0].tiles if len(parts) == 1 else np.concatenate([part.tiles for part in parts])
