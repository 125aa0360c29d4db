"""Drift: each camera's latest images compared with the bundle's training images."""

import itertools
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge

from app.inspection.bundle.artifact import Gate, GateCheck
from app.inspection.input_gate import MEANS
from app.schemas.inspections import InspectionAnswer, ModelUsed

UNNAMED, OTHER = "none", "other"
LEAST_SHARE = 1e-4  # added to a bin's share in training: an empty bin must not make the index infinite
IDLE_S, SPARE_S = 24 * 3600, 600
GATE_RULES = frozenset(rule for rule, _ in MEANS.values())


class Window:
    """The last values of one score, counted in the bins of its training histogram."""

    def __init__(self, check: GateCheck, size: int) -> None:
        self._edges = check.edges
        self._expected = np.array(check.shares)
        self._bins: deque[int] = deque(maxlen=size)
        self._counts = np.zeros(len(check.shares))

    def add(self, value: float) -> None:
        """Add a value; a full window drops its oldest."""
        if self.full:
            self._counts[self._bins[0]] -= 1
        found = bisect_left(self._edges, value)
        self._bins.append(found)
        self._counts[found] += 1

    @property
    def full(self) -> bool:
        """Whether the window is full; with fewer values the index would vary by chance."""
        return len(self._bins) == self._bins.maxlen

    def stability_index(self) -> float:
        """The population stability index against training: 0 for equal shares, without an upper bound.

        It is the sum over bins of (a - e) ln(a / e), a and e being actual and expected shares (Siddiqi,
        Credit Risk Scorecards, 2006). Half an image is added to each bin, so that the index stays finite.
        """
        actual = (self._counts + 0.5) / (len(self._bins) + 0.5 * len(self._counts))
        expected = (self._expected + LEAST_SHARE) / (1 + LEAST_SHARE * len(self._expected))
        return float(np.sum((actual - expected) * np.log(actual / expected)))


class CameraMetrics:
    """Metrics by camera. Clients name the cameras, so at most `most` get a label of their own.

    Images without a camera count under `none`, those of further cameras under `other`. A camera's series are
    removed after IDLE_S without an image, or after SPARE_S once another camera needs their place.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        most: int,
        window: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._size, self._clock = most, window, clock
        self._seen: dict[str, float] = {}  # time of each camera's last image, the longest idle first
        self._model: ModelUsed | None = None
        self._checks: tuple[GateCheck, ...] = ()
        self._windows: dict[tuple[str, str], Window] = {}
        self._judged = Counter(
            "passline_camera_inspections", "Images inspected.", ["camera", "verdict"], registry=registry
        )
        self._defective = Counter(
            "passline_camera_defective",
            "Images with a defect of the class that their recipe inspects, whatever the verdict.",
            ["camera", "defect_class"],
            registry=registry,
        )
        self._stopped = Counter(
            "passline_gate_stopped",
            "Images outside the input gate, by each rule broken.",
            ["camera", "rule"],
            registry=registry,
        )
        self._index = Gauge(
            "passline_gate_psi",
            "Population stability index of a score over the drift window, once it is full.",
            ["camera", "score"],
            registry=registry,
        )

    def expect(self, model: ModelUsed, gate: Gate | None) -> None:
        """Compare the following images of this model with the training images of its gate."""
        self._model = model
        self._checks = () if gate is None else gate.checks
        self._windows.clear()
        self._index.clear()

    def inspected(self, answer: InspectionAnswer) -> None:
        """Count an inspected image."""
        camera = self._label(answer.camera_id)
        self._judged.labels(camera, answer.verdict).inc()
        for name in {defect.defect_class for defect in answer.defects}:
            self._defective.labels(camera, name).inc()
        for rule in GATE_RULES & {reason.rule for reason in answer.reasons}:
            self._stopped.labels(camera, rule).inc()
        # late answers of the bundle before a swap do not count: its scores are not comparable
        if answer.gate_scores is not None and answer.model == self._model:
            for check in self._checks:
                self._count(camera, check, answer.gate_scores[check.score])

    def _count(self, camera: str, check: GateCheck, value: float) -> None:
        window = self._windows.setdefault((camera, check.score), Window(check, self._size))
        was_full = window.full
        window.add(value)
        if window.full and not was_full:
            self._index.labels(camera, check.score).set_function(window.stability_index)

    def _label(self, camera: str | None) -> str:
        if camera is None:
            return UNNAMED
        if camera not in self._seen and len(self._seen) >= self._most:
            self.forget_idle(SPARE_S, most=1)
            if len(self._seen) >= self._most:
                return OTHER
        self._seen.pop(camera, None)
        self._seen[camera] = self._clock()
        return camera

    def forget_idle(self, longer_than_s: float = IDLE_S, most: int | None = None) -> None:
        """Remove the series of cameras without an image for so long; of at most `most`, the longest idle."""
        since = self._clock() - longer_than_s
        idle = [camera for camera, seen in itertools.islice(self._seen.items(), most) if seen <= since]
        for camera in idle:
            del self._seen[camera]
            for metric in (self._judged, self._defective, self._stopped, self._index):
                metric.remove_by_labels({"camera": camera})
            for key in [key for key in self._windows if key[0] == camera]:
                del self._windows[key]
