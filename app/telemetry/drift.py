"""Drift: what each camera's images are like of late, beside those that the bundle was made with."""

from bisect import bisect_left
from collections import deque

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge

from app.inspection.bundle.artifact import Gate, GateCheck
from app.inspection.input_gate import MEANS
from app.schemas.inspections import InspectionAnswer, ModelUsed

UNNAMED, OTHER = "none", "other"
LEAST_SHARE = 1e-4  # of a bin in training: a bin nobody was in must not make the index infinite
GATE_RULES = frozenset(rule for rule, _ in MEANS.values())


class Window:
    """The last values of one score, counted in the bins that it had in training."""

    def __init__(self, check: GateCheck, size: int) -> None:
        self._edges = check.edges
        self._expected = np.array(check.shares)
        self._bins: deque[int] = deque(maxlen=size)
        self._counts = np.zeros(len(check.shares))

    def add(self, value: float) -> None:
        """Count a value, and no longer the oldest of a full window."""
        if self.full:
            self._counts[self._bins[0]] -= 1
        found = bisect_left(self._edges, value)
        self._bins.append(found)
        self._counts[found] += 1

    @property
    def full(self) -> bool:
        """Whether as many values came as the window holds; fewer would drift by chance."""
        return len(self._bins) == self._bins.maxlen

    def stability_index(self) -> float:
        """The population stability index against training: 0 for the same shares, without bound above.

        It is the sum over bins of (a - e) ln(a / e), a and e being actual and expected shares (Siddiqi,
        Credit Risk Scorecards, 2006). Half an image is added to each bin, so that an empty one is finite.
        """
        actual = (self._counts + 0.5) / (len(self._bins) + 0.5 * len(self._counts))
        expected = (self._expected + LEAST_SHARE) / (1 + LEAST_SHARE * len(self._expected))
        return float(np.sum((actual - expected) * np.log(actual / expected)))


class CameraMetrics:
    """What is counted by camera. Cameras are named by clients, so only the first `most` have their own label.

    An image that names none counts under `none`, one of a later camera under `other`.
    """

    def __init__(self, registry: CollectorRegistry, most: int, window: int) -> None:
        self._most, self._size = most, window
        self._known: set[str] = set()
        self._model: ModelUsed | None = None
        self._checks: tuple[GateCheck, ...] = ()
        self._windows: dict[tuple[str, str], Window] = {}
        self._judged = Counter(
            "passline_camera_inspections", "Images judged.", ["camera", "verdict"], registry=registry
        )
        self._defective = Counter(
            "passline_camera_defective",
            "Images with a defect of the class that their recipe judges, whatever the verdict.",
            ["camera", "defect_class"],
            registry=registry,
        )
        self._stopped = Counter(
            "passline_gate_stopped",
            "Images outside the input gate, by each rule that says so.",
            ["camera", "rule"],
            registry=registry,
        )
        self._index = Gauge(
            "passline_gate_psi",
            "Population stability index of a score over the last images, once there are enough.",
            ["camera", "score"],
            registry=registry,
        )

    def expect(self, model: ModelUsed, gate: Gate | None) -> None:
        """Compare what this model sees with its gate's training images from now on."""
        self._model = model
        self._checks = () if gate is None else gate.checks
        self._windows.clear()
        self._index.clear()

    def inspected(self, answer: InspectionAnswer) -> None:
        """An image was judged."""
        camera = self._label(answer.camera_id)
        self._judged.labels(camera, answer.verdict).inc()
        for name in {defect.defect_class for defect in answer.defects}:
            self._defective.labels(camera, name).inc()
        for rule in GATE_RULES & {reason.rule for reason in answer.reasons}:
            self._stopped.labels(camera, rule).inc()
        # after a swap of bundles some answers are still those of the bundle before: its scores are others
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
        if camera not in self._known and len(self._known) >= self._most:
            return OTHER
        self._known.add(camera)
        return camera
