"""The figures by part: several images of one part, judged by each rule that a recipe may choose."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from app.inspection.results import Verdict
from app.inspection.rules.part_model import PartModel, PartRule
from app.inspection.rules.part_verdict import ImageResult, judge_part
from training.evaluation.figures import rate, shares
from training.evaluation.judged import Judged
from training.statistics import Figures

VERDICTS: tuple[Verdict, ...] = ("pass", "fail", "review")


def part_figures(
    judged: Sequence[Judged], models: Sequence[PartModel | None], confidence: float
) -> Figures | None:
    """The figures of the parts with at least two images by the rule `worst`, and by `joint`.

    `models` has the part model of the operating point that each image was inspected at. A group is a part,
    defective if any of its images is. `joint` is None unless all parts have a part model. None where no part
    has two images.
    """
    parts: dict[str, list[tuple[Judged, PartModel | None]]] = defaultdict(list)
    for each, model in zip(judged, models, strict=True):
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


def _verdict(images: Sequence[tuple[Judged, PartModel | None]], rule: PartRule) -> Verdict:
    """A part's verdict; images of a group share a model, as splits keep groups whole."""
    results = [ImageResult(each.verdict, each.image_probability) for each, _ in images]
    return judge_part(results, images[0][1] if rule == "joint" else None).verdict


def _rule_figures(kinds: Sequence[bool], verdicts: Sequence[Verdict], confidence: float) -> Figures:
    """Verdicts by kind, and rates: once with `fail` and `review` called defective, once with `fail` alone."""
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
