"""The figures by part: verdicts from several images of one part, by each rule that a recipe may choose."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from app.inspection.results import Verdict
from app.inspection.rules.part_model import PartModel, PartRule
from app.inspection.rules.part_verdict import ImageResult, judge_part
from training.evaluation.compared import Compared
from training.evaluation.figures import rate, shares
from training.statistics import Figures

VERDICTS: tuple[Verdict, ...] = ("pass", "fail", "review")


def part_figures(
    compared: Sequence[Compared], models: Sequence[PartModel | None], confidence: float
) -> Figures | None:
    """The figures of the parts with at least two images, by the rules `worst` and `joint`.

    `models` has the part model of the operating point that each image was inspected at. A group is a part,
    and defective if any of its images is. `joint` is None unless all parts have a part model. Returns None if
    no part has two images.
    """
    parts: dict[str, list[tuple[Compared, PartModel | None]]] = defaultdict(list)
    for each, model in zip(compared, models, strict=True):
        parts[each.group].append((each, model))
    several = [images for images in parts.values() if len(images) > 1]
    if not several:
        return None
    kinds = [any(each.defective for each, _ in images) for images in several]
    has_models = all(model is not None for images in several for _, model in images)
    rules: tuple[PartRule, ...] = ("worst", "joint") if has_models else ("worst",)
    found: Figures = {
        "parts": len(several),
        "defective": sum(kinds),
        "good": len(kinds) - sum(kinds),
        "images": sum(map(len, several)),
        "joint": None,
    }
    for rule in rules:
        verdicts = [_verdict(images, rule) for images in several]
        found[rule] = _rule_figures(kinds, verdicts, confidence)
    return found


def _verdict(images: Sequence[tuple[Compared, PartModel | None]], rule: PartRule) -> Verdict:
    """A part's verdict; images of a group share a model, because splits keep groups together."""
    results = [ImageResult(each.verdict, each.image_probability) for each, _ in images]
    return judge_part(results, images[0][1] if rule == "joint" else None).verdict


def _rule_figures(kinds: Sequence[bool], verdicts: Sequence[Verdict], confidence: float) -> Figures:
    """Verdicts of good and defective parts, and rates with `fail or review` and with `fail` as defective."""
    pairs = Counter(zip(kinds, verdicts, strict=True))
    return {
        "verdicts": {
            name: {verdict: pairs[kind, verdict] for verdict in VERDICTS}
            for name, kind in (("good", False), ("defective", True))
        },
        "fail_or_review": _rates(kinds, [each != "pass" for each in verdicts], confidence),
        "fail": _rates(kinds, [each == "fail" for each in verdicts], confidence),
    }


def _rates(kinds: Sequence[bool], called: Sequence[bool], confidence: float) -> Figures:
    pairs = Counter(zip(kinds, called, strict=True))
    counts = shares(pairs[True, True], pairs[True, False], pairs[False, True], pairs[False, False])
    return {name: rate(*each, confidence) for name, each in counts.items()}
