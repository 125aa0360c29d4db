"""Micro-batches: what waits is run together, at once, and no image suffers from another."""

import math
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.inspection.cancellation import NEVER, Cancellation
from app.inspection.errors import InferenceFailed
from app.inspection.inference.batching import Batcher, Run, Way

Tiles = NDArray[np.uint8]
POISON = 255


class Device:
    """Doubles tiles; keeps what it was given, waits while held, and fails for a tile with POISON in it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()

    def hold(self) -> None:
        self._open.clear()

    def go_on(self) -> None:
        self._open.set()

    def __call__(self, tiles: Tiles, _: object = None) -> list[NDArray[Any]]:
        with self._lock:
            self.batches.append(tiles[:, 0].tolist())
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        assert self._open.wait(10)
        time.sleep(0.001)
        with self._lock:
            self.at_once -= 1
        if (tiles == POISON).any():
            raise InferenceFailed("poisoned")
        return [tiles.astype(np.int64) * 2]


def batcher_of(device: Run, count: int, max_batch: int) -> Batcher:
    """Batcher with a single way to run."""
    way = Way(device, max_batch)
    return Batcher(count, way, way)


def picture(*values: int) -> Tiles:
    return np.array(values, np.uint8)[:, None]


def run(batcher: Batcher, tiles: Tiles, cancellation: Cancellation = NEVER) -> list[int]:
    room = np.full((len(tiles), 1), -1, np.int64)
    batcher.run(tiles, [room], cancellation)
    return [int(each) for each in room[:, 0]]


def started(executor: ThreadPoolExecutor, batcher: Batcher, tiles: Tiles, **more: Any) -> "Future[list[int]]":
    """An image that waits in its turn before the next one is given."""
    future = executor.submit(run, batcher, tiles, **more)
    time.sleep(0.02)
    return future


def test_a_picture_alone_is_run_at_once_in_batches() -> None:
    device = Device()
    assert run(batcher_of(device, 1, 3), picture(1, 2, 3, 4, 5, 6, 7)) == [2, 4, 6, 8, 10, 12, 14]
    assert device.batches == [[1, 2, 3], [4, 5, 6], [7]]


def test_no_tiles_need_no_run() -> None:
    device = Device()
    assert run(batcher_of(device, 1, 3), np.empty((0, 1), np.uint8)) == []
    assert not device.batches


def test_what_waits_while_a_lane_is_taken_is_run_together() -> None:
    device = Device()
    batcher = batcher_of(device, 1, 4)
    device.hold()
    with ThreadPoolExecutor(4) as executor:
        found = [started(executor, batcher, tiles) for tiles in (picture(1), picture(2, 3), picture(4))]
        device.go_on()
        assert [each.result() for each in found] == [[2], [4, 6], [8]]
    assert device.batches == [[1], [2, 3, 4]]


def test_a_large_picture_does_not_hold_up_small_ones() -> None:
    device = Device()
    batcher = batcher_of(device, 1, 2)
    device.hold()
    with ThreadPoolExecutor(3) as executor:
        large = started(executor, batcher, picture(*range(1, 9)))
        small = started(executor, batcher, picture(100))
        device.go_on()
        assert large.result() == [2 * value for value in range(1, 9)]
        assert small.result() == [200]
    assert [100 in batch for batch in device.batches].index(True) <= 2


def test_no_more_than_the_lanes_run_at_once() -> None:
    device = Device()
    batcher = batcher_of(device, 2, 1)
    with ThreadPoolExecutor(8) as executor:
        found = list(executor.map(lambda value: run(batcher, picture(value, value)), range(100)))
    assert found == [[2 * value] * 2 for value in range(100)]
    assert device.most_at_once == 2


def test_a_tile_that_fails_fails_its_own_picture_alone() -> None:
    device = Device()
    batcher = batcher_of(device, 1, 4)
    device.hold()
    with ThreadPoolExecutor(4) as executor:
        first = started(executor, batcher, picture(1))
        good, bad = started(executor, batcher, picture(2)), started(executor, batcher, picture(3, POISON))
        device.go_on()
        assert first.result() == [2]
        assert good.result() == [4]
        with pytest.raises(InferenceFailed, match="poisoned"):
            bad.result()
    assert run(batcher, picture(9)) == [18]


def test_an_error_nobody_foresaw_while_pictures_are_run_one_by_one_leaves_nobody_waiting() -> None:
    def broken(tiles: Tiles, _: object) -> list[NDArray[Any]]:
        found = device(tiles)
        if len(tiles) > 1:
            raise InferenceFailed("too many")
        if tiles[0, 0] == 2:
            raise MemoryError("no room")
        return found

    device = Device()
    batcher = batcher_of(broken, 1, 4)
    device.hold()
    with ThreadPoolExecutor(4) as executor:
        started(executor, batcher, picture(1))
        unlucky, other = started(executor, batcher, picture(2)), started(executor, batcher, picture(3))
        device.go_on()
        with pytest.raises(MemoryError):
            unlucky.result()
        assert other.result() == [6]


def test_answers_that_do_not_fit_leave_nobody_waiting() -> None:
    device = Device()
    batcher = batcher_of(lambda tiles, _: [device(tiles)[0][:, :0]], 1, 4)
    device.hold()
    with ThreadPoolExecutor(4) as executor:
        found = [started(executor, batcher, picture(value)) for value in (1, 2, 3)]
        device.go_on()
        for each in found:
            with pytest.raises(ValueError, match="broadcast"):
                each.result(timeout=5)


def test_an_error_nobody_foresaw_reaches_everyone_in_the_batch() -> None:
    def broken(tiles: Tiles, _: object) -> list[NDArray[Any]]:
        device(tiles)
        if len(tiles) > 1:
            raise MemoryError("no room")
        return [tiles]

    device = Device()
    batcher = batcher_of(broken, 1, 4)
    device.hold()
    with ThreadPoolExecutor(4) as executor:
        started(executor, batcher, picture(1))
        both = [started(executor, batcher, picture(value)) for value in (2, 3)]
        device.go_on()
        for each in both:
            with pytest.raises(MemoryError, match="no room"):
                each.result()
    assert run(batcher, picture(9)) == [9]  # its lane is free again


def test_a_picture_nobody_wants_any_more_is_not_run() -> None:
    class TooLate(Exception):
        pass

    device = Device()
    batcher = batcher_of(device, 1, 4)
    device.hold()
    with ThreadPoolExecutor(4) as executor:
        first = started(executor, batcher, picture(1))
        late = started(
            executor, batcher, picture(2, 3, 4, 5, 6), cancellation=Cancellation(-math.inf, TooLate)
        )
        wanted = started(executor, batcher, picture(7))
        device.go_on()
        assert (first.result(), wanted.result()) == ([2], [14])
        with pytest.raises(TooLate):
            late.result()
    assert device.batches == [[1], [7]]


def test_few_pictures_are_run_in_one_way_and_many_in_the_other() -> None:
    few, many = Device(), Device()
    batcher = Batcher(2, Way(few, 4), Way(many, 1))
    assert run(batcher, picture(1, 2, 3)) == [2, 4, 6]
    assert (few.batches, many.batches) == ([[1, 2, 3]], [])
    few.hold()
    with ThreadPoolExecutor(3) as executor:
        alone = started(executor, batcher, picture(4))
        second = started(executor, batcher, picture(5, 6))
        assert second.result() == [10, 12]
        few.go_on()
        assert alone.result() == [8]
    assert many.batches == [[5], [6]]


def test_a_large_picture_counts_once() -> None:
    few, many = Device(), Device()
    batcher = Batcher(3, Way(few, 1), Way(many, 1))
    with ThreadPoolExecutor(2) as executor:
        found = list(executor.map(lambda value: run(batcher, picture(*[value] * 20)), (1, 2)))
    assert found == [[2] * 20, [4] * 20]
    assert not many.batches


def test_each_way_can_be_tried_whatever_the_load() -> None:
    few, many = Device(), Device()
    batcher = Batcher(2, Way(few, 4), Way(many, 1))
    for number in range(3):
        with batcher.only(number):
            assert run(batcher, picture(number)) == [2 * number]
    assert (few.batches, many.batches) == ([[0], [2]], [[1]])
    run(batcher, picture(7))
    assert few.batches[-1] == [7]
