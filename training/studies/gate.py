"""The input gate by grouped folds: false alarms and manipulated images stopped, with and without a check."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import GroupKFold

from app.inspection.bundle.artifact import Artifact, GateScore
from app.inspection.bundle.bundle import Bundle
from app.inspection.input_gate import MEANS
from app.inspection.results import Rule
from training.config import ConfigError, GateConfig
from training.data.sample import Pixels, Sample
from training.evaluation.changes import MANIPULATIONS, Change
from training.evaluation.figures import rate
from training.statistics import Figures
from training.thresholds.input_gate import (
    FeatureGraph,
    Known,
    LearntGate,
    Looks,
    check_enough,
    evenly,
    learn_gate,
    looks_of,
)

ALL = "all checks"
GATES: Mapping[str, tuple[GateScore, ...]] = {  # by name, the scores that a gate leaves out
    ALL: (),
    "without polarity": ("border_contrast",),
    "without grain": ("grain",),
    "without both": ("border_contrast", "grain"),
}
CONFIDENCE = 0.95
Stopped = list[set[Rule]]  # for each image, the rules that stop it


@dataclass(frozen=True)
class Manipulated:
    """The scores of images after one change."""

    change: Change
    strength: float
    looks: Looks


def gate_study(
    bundle: Bundle, artifact: Artifact, samples: Sequence[Sample], folds: int = 5, images: int = 200
) -> Figures:
    """Fit gates to the images of all folds but one, and measure them on that one; no group is in two folds.

    The features are the artifact's, whose network may know the images. `images` is how many are manipulated.
    Raises ConfigError if there are too few images or groups.
    """
    known = [Known(sample.group, sample.pixels) for sample in samples]
    check_enough(known)
    if folds > len({each.group for each in known}):
        raise ConfigError(f"--folds {folds}: more than the set has groups; give fewer")
    graph = FeatureGraph(bundle.read(artifact.file), bundle.input)
    ordinary = looks_of([graph], known)[0]
    manipulated = [
        Manipulated(
            change, strength, looks_of([graph], _changed(evenly(samples, images), change, strength))[0]
        )
        for change in MANIPULATIONS
        for strength in change.strengths
    ]
    gates = {
        name: _learnt(ordinary, [ordinary, *(each.looks for each in manipulated)], folds, without)
        for name, without in GATES.items()
    }
    defective = [sample.defective for sample in samples]
    return {
        "pictures": len(samples),
        "groups": len(set(ordinary.groups)),
        "folds": folds,
        "expected_false_alarm_rate": GateConfig().false_alarm_rate,
        "gates": {name: _stopped_by_label(stopped[0], defective) for name, stopped in gates.items()},
        "changes": [_row(each, place, gates) for place, each in enumerate(manipulated, start=1)],
    }


def table_text(figures: Figures) -> str:
    """The figures as Markdown tables: false alarms by gate, and shares of manipulated images stopped."""
    rows = [["gate", "good images stopped", "by rule", "defective images stopped"]]
    for name, found in figures["gates"].items():
        rows.append(
            [name, _count(found["good"]), _by_rule(found["good_by_rule"]), _count(found["defective"])]
        )
    changes = [["change", *GATES, f"by rule, {ALL}"]]
    for row in figures["changes"]:
        shares = [f"{row['stopped'][name]:.3f}" for name in GATES]
        name = f"{row['change']}: {row['strength']:g} ({row['unit']}), {row['pictures']} images"
        changes.append([name, *shares, _by_rule(row["by_rule"])])
    return "\n\n".join("\n".join(_lines(each)) for each in (rows, changes))


def _changed(samples: Sequence[Sample], change: Change, strength: float) -> list[Known]:
    def pixels_of(sample: Sample) -> Callable[[], Pixels]:
        return lambda: change.apply(sample.pixels(), None, strength)[0]

    return [Known(sample.group, pixels_of(sample)) for sample in samples]


def _learnt(
    ordinary: Looks, tables: Sequence[Looks], folds: int, without: Sequence[GateScore]
) -> list[Stopped]:
    """The rules that stop each image of each table, by a gate fitted to the other folds' ordinary images."""
    stopped: list[Stopped] = [[set()] * len(table.groups) for table in tables]
    for others, own in GroupKFold(folds).split(ordinary.groups, groups=ordinary.groups):
        learnt = learn_gate(ordinary.part(others, without), None, GateConfig())
        groups = {ordinary.groups[place] for place in own}
        for table, found in zip(tables, stopped, strict=True):
            for place, group in enumerate(table.groups):
                if group in groups:
                    found[place] = _rules(learnt, table, place)
    return stopped


def _rules(learnt: LearntGate, looks: Looks, place: int) -> set[Rule]:
    scores = {name: float(values[place]) for name, values in looks.scores.items()}
    scores["feature_distance"] = learnt.distribution.distance(looks.features[place])
    return {MEANS[each.score][0] for each in learnt.checks if each.broken(scores[each.score]) is not None}


def _stopped_by_label(stopped: Stopped, defective: Sequence[bool]) -> Figures:
    by_label = {
        kind: [
            rules for rules, label in zip(stopped, defective, strict=True) if label == (kind == "defective")
        ]
        for kind in ("good", "defective")
    }
    rates = {kind: rate(sum(map(bool, rules)), len(rules), CONFIDENCE) for kind, rules in by_label.items()}
    return rates | {"good_by_rule": dict(Counter(rule for rules in by_label["good"] for rule in rules))}


def _row(found: Manipulated, place: int, gates: Mapping[str, list[Stopped]]) -> Figures:
    shares = {
        name: round(float(np.mean([bool(rules) for rules in stopped[place]])), 4)
        for name, stopped in gates.items()
    }
    return {
        "change": found.change.name,
        "unit": found.change.unit,
        "strength": found.strength,
        "pictures": len(found.looks.groups),
        "stopped": shares,
        "by_rule": dict(Counter(rule for rules in gates[ALL][place] for rule in rules)),
    }


def _count(found: Figures | None) -> str:
    return f"{found['count']} of {found['of']}" if found else "-"


def _by_rule(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{rule} {count}" for rule, count in sorted(counts.items())) or "-"


def _lines(rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (rows[0], ["---"] * len(rows[0]), *rows[1:])]
