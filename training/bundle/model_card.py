"""The model card: every figure in it is read from the bundle and its evaluation."""

import textwrap
from typing import Any

from app.inspection.bundle.bundle import Bundle

Figures = dict[str, Any]
SPLIT_NAMES = {"group": "parts never seen (split by group)", "picture": "split by picture: parts leak"}
GOLDEN = {
    "generated": "No picture of these sets is part of the bundle: the golden samples are generated.",
    "own": "**The golden samples are pictures of these sets**: pass the bundle on only where they may be.",
}
FOLD_FIGURES = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "auroc": "AUROC",
    "dice": "Dice per defective picture",
}


def model_card(bundle: Bundle, evaluation: Figures, by_picture: Figures | None, folds: list[Figures]) -> str:
    """Return MODEL_CARD.md of a bundle, with the figures of the run by picture and of cross-validations."""
    parts = [
        f"# {bundle.name} {bundle.version}\n\n{bundle.description}",
        _use(bundle),
        _figures(evaluation, by_picture),
        *([cross_validation(folds)] if folds else []),
        _detail(evaluation["test"]),
        *([_by_part(evaluation["test"]["by_part"])] if evaluation["test"].get("by_part") else []),
        _operating_points(bundle),
        *([_gate(evaluation)] if "gate" in evaluation else []),
        *_artifacts(evaluation),
        _data(bundle),
        _made(bundle, evaluation),
    ]
    return "\n\n".join(parts) + "\n"


def _use(bundle: Bundle) -> str:
    classes = ", ".join(f"{each.name} ({each.severity})" for each in bundle.classes)
    contract = bundle.input
    finds = _paragraph(
        f"Finds {classes} on pictures like those it was trained on (below). On any other product, camera or "
        "lighting its answers are not tested: fine-tune on your own parts first."
    )
    takes = _paragraph(
        f"Input: {contract.colour} pictures of at least {contract.min_side_px} px a side, cut into tiles of "
        f"{contract.tile_width} x {contract.tile_height} px that overlap by {contract.overlap} px."
    )
    return f"## Use\n\n{finds}\n\n{takes}"


def _figures(evaluation: Figures, by_picture: Figures | None) -> str:
    lines = [
        "## Figures",
        "",
        "| test set | pictures (defective) | accuracy | precision | recall | AUROC | Dice per defective picture |",
        "|---|---|---|---|---|---|---|",
        _row(_tested_on(evaluation), evaluation["test"]),
    ]
    if "generated" in evaluation:
        lines.append(_row("generated pictures", evaluation["generated"]))
    if by_picture is not None:
        lines.append(_row("split by picture, another model", by_picture["test"]))
    lines += [
        "",
        _paragraph(
            f"In brackets: exact {evaluation['confidence']:.0%} intervals, as if pictures were independent. A "
            "picture counts as called defective when its verdict is `fail` or `review`."
        ),
        "",
        *_cross_fitted(evaluation),
        _by_group(evaluation),
        *(["", _paragraph(evaluation["certainty"])] if "certainty" in evaluation else []),
    ]
    if by_picture is not None:
        lines += [
            "",
            _paragraph(
                "The last line is for comparison with publications only: it splits by picture, so that "
                "re-photographed parts stand on both sides and the figures flatter. Its model is not this one "
                "and is not shipped."
            ),
        ]
    return "\n".join(lines)


def _tested_on(evaluation: Figures) -> str:
    split = evaluation["split"]
    name = SPLIT_NAMES[split["by"]]
    return name if split.get("folds") is None else f"{name}, out of {split['folds']} folds"


def _cross_fitted(evaluation: Figures) -> list[str]:
    """How the figures of a cross-fitted bundle came about, and those of each fold."""
    split = evaluation["split"]
    if split.get("folds") is None:
        return []
    kept = "part" if split["by"] == "group" else "image"
    about = _paragraph(
        f"The images were divided into {split['folds']} folds, no {kept} in two. Each fold was inspected by a "
        "network that was fitted on the other folds, with thresholds, region model and calibration chosen from "
        "their out-of-fold predictions alone, through the code that serves. The network that ships was then fitted "
        "on all images with the same settings and number of steps; its thresholds come from the out-of-fold "
        "predictions of all images. The figures are of the folds' networks, which saw fewer images than it did, and "
        "are without the input gate. Each fold's thresholds come from networks that saw its images, not from "
        "predictions of its images."
    )
    rows = [
        "| fold | images | accuracy | precision | recall | AUROC | Dice |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, each in enumerate(evaluation["by_fold"], start=1):
        values = [each[name] for name in ("accuracy", "precision", "recall", "auroc", "dice")]
        cells = " | ".join("-" if value is None else f"{value:.3f}" for value in values)
        rows.append(f"| {number} | {each['pictures']} | {cells} |")
    return [about, "", *rows, ""]


def cross_validation(found: list[Figures]) -> str:
    """Return the table of cross-validations of the same confidence, with a line on what they are."""
    about = (
        "Every picture is judged once a repeat, by a model fitted with these settings that saw neither it nor, by "
        "group, its part; each fold chose its own checkpoint and thresholds. In brackets: "
        f"{found[0]['confidence']:.0%} intervals of the mean, widened because folds share training pictures."
    )
    if any(folds["split"]["by"] == "picture" for folds in found[1:]):
        about += " The folds by picture are of the comparison's settings, and flatter as it does."
    lines = [
        f"| mean over | {' | '.join(FOLD_FIGURES.values())} |",
        f"|---|{'---|' * len(FOLD_FIGURES)}",
        *map(_folds_row, found),
        "",
        _paragraph(about),
    ]
    return "\n".join(lines)


def _folds_row(folds: Figures) -> str:
    rates = [folds["mean"][key] for key in FOLD_FIGURES]
    cells = " | ".join("-" if each is None or each["interval"] is None else _rate(each) for each in rates)
    name = f"{folds['folds']} folds by {folds['split']['by']}"
    if folds["repeats"] > 1:
        name += f", {folds['repeats']} times"
    return f"| {name} | {cells} |"


def _by_group(evaluation: Figures) -> str:
    by_group = evaluation["test"]["by_group"]
    intervals = ", ".join(
        f"{name.replace('_', ' ')} {pair[0]:.3f} to {pair[1]:.3f}"
        for name, pair in by_group["intervals"].items()
        if pair
    )
    return _paragraph(
        f"Pictures of one part are not independent: the test split holds {by_group['defective_groups']} groups "
        f"with defects and {by_group['good_groups']} with good pictures. Drawing whole groups (bootstrap), the "
        f"{evaluation['confidence']:.0%} intervals are: {intervals}."
    )


def _row(name: str, figures: Figures) -> str:
    rates = " | ".join(_rate(figures[key]) for key in ("accuracy", "precision", "recall"))
    dice = figures["dice"]["per_defective_picture"]
    return (
        f"| {name} | {figures['pictures']} ({figures['defective']}) | {rates} | {figures['auroc']} | {dice} |"
    )


def _rate(rate: Figures | None) -> str:
    if rate is None:
        return "-"
    low, high = rate["interval"]
    return f"{rate['value']:.3f} [{low:.3f}, {high:.3f}]"


def _detail(test: Figures) -> str:
    lines = [
        _paragraph(
            f"Escape rate {_rate(test['escape_rate'])}, overkill rate {_rate(test['overkill_rate'])}. Verdicts on "
            f"the test split, good parts: {_verdicts(test, 'good')}; defective parts: "
            f"{_verdicts(test, 'defective')}."
        ),
        "",
        "| class | pictures | Dice (any defect) | Dice of its class |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['pictures']} | {row['any_defect']} | {row['of_its_class']} |"
        for name, row in test["dice"]["per_class"].items()
    ]
    if test["estimated_dice"]["pictures"]:
        lines += ["", _estimate(test["estimated_dice"])]
    lines += ["", "| defect pixels of the picture | pictures | Dice (any defect) |", "|---|---|---|"]
    lines += [
        f"| {name} | {row['pictures']} | {row['any_defect']} |"
        for name, row in test["dice"]["by_defect_size"].items()
    ]
    return "\n".join(lines)


def _by_part(figures: Figures) -> str:
    """Parts of several images, by each rule that a recipe may choose for them."""
    rates = ("accuracy", "precision", "recall", "escape_rate", "overkill_rate")
    lines = [
        _paragraph(
            f"By part, of {figures['parts']} parts with two or more images ({figures['defective']} defective, "
            f"{figures['images']} images), each judged by all its images:"
        ),
        "",
        "| rule for parts | called defective | accuracy | precision | recall | escape rate | overkill rate |",
        "|---|---|---|---|---|---|---|",
    ]
    for rule in ("worst", "joint"):
        for called, name in (("fail_or_review", "`fail` or `review`"), ("fail", "`fail` alone")):
            if figures[rule] is not None:
                cells = " | ".join(_rate(figures[rule][called][key]) for key in rates)
                lines.append(f"| `{rule}` | {name} | {cells} |")
    return "\n".join(lines)


def _estimate(estimate: Figures) -> str:
    """How good the estimated Dice is; evaluations of earlier releases know its errors only."""
    text = (
        f"The estimated Dice is off from the measured one by {estimate['mean_absolute_error']:.3f} on average (mean "
        f"error {estimate['mean_error']:+.3f}, {estimate['pictures']} defective pictures with a mask)."
    )
    if estimate.get("spearman") is not None:
        text += f" Rank correlation: {estimate['spearman']:.2f}."
    if (risk := estimate.get("risk_coverage")) is not None:
        text += (
            f" Area under the risk-coverage curve: {risk['aurc']:.3f} (best order {risk['best']:.3f}, none "
            f"{risk['random']:.3f})."
        )
    if "interval" not in estimate:  # evaluated before there was one to state
        return _paragraph(text)
    if (interval := estimate["interval"]) is None:
        return _paragraph(f"{text} No interval is stated around it.")
    return _paragraph(
        f"{text} The interval around it holds the measured Dice of {_rate(interval['coverage'])} of the pictures, "
        f"{interval['coverage_by_group']:.3f} as the mean of {interval['groups']} parts; its mean width is "
        f"{interval['mean_width']:.2f}."
    )


def _verdicts(test: Figures, kind: str) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in test["verdicts"][kind].items())


def _operating_points(bundle: Bundle) -> str:
    lines = [
        "## Operating point",
        "",
        "| artifact | image threshold | pixel threshold | smallest area | split | escape rate | overkill rate |",
        "|---|---|---|---|---|---|---|",
    ]
    for artifact in bundle.artifacts:
        point = artifact.operating_point
        expected = point.expected
        assert expected is not None
        lines.append(
            f"| {artifact.name} | {point.image_threshold:.3f} | {point.pixel_threshold:.2f} | {point.min_area_px} px | "
            f"{expected.split} | {expected.escape_rate:.3f} of {expected.defective} | "
            f"{expected.overkill_rate:.3f} of {expected.good} |"
        )
    for artifact in bundle.artifacts:
        chosen = artifact.operating_point.chosen
        if chosen is not None:
            lines += ["", _paragraph(f"{artifact.name}, on the images it was chosen on: {chosen.sentence}.")]
    return "\n".join(lines)


def _gate_images(evaluation: Figures) -> str:
    """A cross-fitted bundle has no test split: its gate was learnt from all images."""
    return "of the test split" if evaluation["split"].get("folds") is None else "that it was learnt from"


def _gate(evaluation: Figures) -> str:
    gate = evaluation["gate"]
    rows = [*gate["changes"], *gate["other_products"]]
    least: dict[str, float] = {}
    for row in rows:
        name = row.get("change") or row["product"]
        least[name] = min(row["auroc"], least.get(name, 1.0))
    told = ", ".join(f"{name} {value:.3f}" for name, value in least.items())
    return "## Input gate\n\n" + _paragraph(
        f"Pictures unlike those of training get `review`. Of {gate['pictures']} pictures {_gate_images(evaluation)} "
        "the gate "
        f"stops {_rate(gate['false_alarm_rate'])}; it was set to stop {gate['expected_false_alarm_rate']:g}. AUROC, at "
        f"the weakest change tried: {told}."
    )


def _artifacts(evaluation: Figures) -> list[str]:
    """Parity on the test split, and what was tried beside fp32; nothing where neither was done."""
    parity, artifacts = evaluation["parity"].get("test"), evaluation.get("artifacts")
    parts = []
    if parity is not None:
        parts.append(_parity(parity))
    if artifacts is not None:
        parts += [_paragraph(f"{name}: {kept['reason']}.") for name, kept in artifacts["in_bundle"].items()]
        parts += [
            _paragraph(f"{name} is not in the bundle: {trial['refused_because']}.")
            for name, trial in artifacts["tried"].items()
            if not trial["accepted"]
        ]
    return ["## Artifacts", *parts] if parts else []


def _parity(parity: Figures) -> str:
    lines = [
        _paragraph(
            f"Against torch on the {parity['pictures']} pictures of the test split ({parity['tiles']} tiles), each "
            "artifact at its own operating point:"
        ),
        "",
        "| artifact | largest difference: levels of 255, image probability | mask IoU: mean, least | Dice | verdict flips | new escapes |",
        "|---|---|---|---|---|---|",
        f"| torch | | | {parity['dice_per_defective_picture']} | | |",
    ]
    lines += [
        f"| {name} | {row['max_mask_level_difference']}, {row['max_image_probability_difference']:.1e} | "
        f"{row['mask_iou']['mean']}, {row['mask_iou']['min']} | {row['dice_per_defective_picture']} | "
        f"{row['verdict_flips']} | {row['new_escapes']} |"
        for name, row in parity["artifacts"].items()
    ]
    return "\n".join(lines)


def _data(bundle: Bundle) -> str:
    lines = ["## Training data", "", "| source | pictures | licence | citation |", "|---|---|---|---|"]
    lines += [
        f"| {each.name} | {each.pictures} | {each.licence} | {each.citation} |"
        for each in bundle.training.data
    ]
    lines += [
        "",
        _paragraph(
            f"{GOLDEN[bundle.golden_origin]} Where a set states no licence, whether a model made from it may be "
            "used commercially is not settled here: ask its authors."
        ),
    ]
    return "\n".join(lines)


def _made(bundle: Bundle, evaluation: Figures) -> str:
    tools = ", ".join(f"{name} {version}" for name, version in bundle.tools.items())
    parity = evaluation["parity"]
    made = _paragraph(
        f"Stages: {'; '.join(bundle.training.stages)}. Seed {bundle.training.seed}. {bundle.training.note} "
        f"Tools: {tools}."
    )
    agreement = _paragraph(
        f"Torch and the ONNX graph agree on {parity['tiles']} tiles within "
        f"{parity['max_mask_level_difference']} level(s) of 255 per pixel and "
        f"{parity['max_image_probability_difference']:.1e} in the image-level probability. Evaluated by "
        f"`{evaluation['command']}`."
    )
    return f"## How it was made\n\n{made}\n\n{agreement}"


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False)
