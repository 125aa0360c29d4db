"""The files of an evaluation: evaluation.json, and a page that also shows the worst images."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.evaluation.document import Document
from training.evaluation.figures import RATES
from training.evaluation.gallery import Shown
from training.files import EVALUATION, REPORT, write_text
from training.rendering import chart, embedded_image, render
from training.statistics import Figures

Galleries = Mapping[str, Sequence[Shown]]
SLICE_FIGURES = ("escape_rate", "overkill_rate", "dice")
COLUMNS = 4


def write_evaluation(directory: Path, document: Document, galleries: Galleries | None = None) -> None:
    """Write the page, then evaluation.json, which marks the evaluation as done."""
    write_text(directory / REPORT, evaluation_page(document, galleries))
    write_text(directory / EVALUATION, json.dumps(document, indent=2, allow_nan=False) + "\n")


def evaluation_page(document: Document, galleries: Galleries | None = None) -> str:
    """The page of an evaluation, with its figures and the images of the galleries."""
    test, bundle = document["test"], document["bundle"]
    values = {
        "title": f"Evaluation of {bundle['name']} {bundle['version']} ({bundle['artifact']})",
        "document": document,
        "test": test,
        "charts": _charts(test, document["calibration"]["image_threshold"]),
        "risk_coverage": _risk_coverage(test["estimated_dice"]["risk_coverage"]),
        "calibration": _calibration(document),
        "rates": RATES,
        "slice_figures": SLICE_FIGURES,
        "parity": document.get("parity", {}).get("test"),
        "artifacts": document.get("artifacts"),
        "galleries": {
            name: [(embedded_image(each.pixels, each.caption), each.caption) for each in shown]
            for name, shown in (galleries or {}).items()
        },
        "shown": _text,
    }
    return render("evaluation.html", values)


def _calibration(document: Document) -> Markup | None:
    """Reliability on held-out groups of the calibration split; None if the document has no such report."""
    report = document.get("probability_calibration")
    return None if report is None else chart(calibration_chart(report))


def _risk_coverage(figures: Figures | None) -> Markup | None:
    """Mean 1 - Dice of the images kept, highest estimated Dice first; None without figures."""
    if figures is None:
        return None
    figure = Figure(figsize=(4.8, 3.6), layout="constrained")
    axes, curve = figure.subplots(), figures["curve"]
    axes.set(title="Risk and coverage", xlabel="share of images kept", ylabel="mean 1 - Dice", xlim=(0, 1))
    axes.plot(curve["kept"], curve["risk"], label=f"by estimated Dice, area {figures['aurc']:.3f}")
    axes.plot(curve["kept"], curve["best_risk"], label=f"best order, area {figures['best']:.3f}")
    axes.axhline(figures["random"], color="grey", linestyle=":", label=f"no order, {figures['random']:.3f}")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")
    return chart(figure)


def _text(entry: Any) -> str:
    """A figure as text: a number, or a rate or mean with its interval."""
    if entry is None:
        return "–"
    if not isinstance(entry, Mapping):
        return f"{entry:.3f}" if isinstance(entry, float) else str(entry)
    if entry["interval"] is None:
        return f"{entry['value']:.3f}"
    low, high = entry["interval"]
    return f"{entry['value']:.3f} [{low:.3f}, {high:.3f}]"


def _charts(test: Figures, threshold: float) -> Markup:
    """All curves in one figure."""
    figure = Figure(figsize=(12, 7.2), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    curves = test["curves"]
    _curve(axes[0], curves.get("roc"), "ROC, by image", f"AUROC {_text(test['auroc'])}")
    precision = f"average precision {_text(test['average_precision'])}"
    _curve(axes[1], curves.get("precision_recall"), "Precision and recall, by image", precision)
    _curve(axes[2], curves.get("image_threshold"), "Escape and overkill by image threshold", "")
    axes[2].axvline(threshold, color="grey", linestyle=":", label="threshold in force")
    axes[2].legend()
    aupro = test["pixels"]["aupro"]
    label = f"AUPRO up to {aupro['limit']}: {_text(aupro['value'])}"
    _curve(axes[3], curves["region_overlap"], "Per-region overlap", label)
    axes[3].axvline(aupro["limit"], color="grey", linestyle=":")
    by_image = {"as answered": "image_reliability", "calibrated": "image_reliability_calibrated"}
    _diagram(axes[4], {name: test[key] for name, key in by_image.items()}, "Reliability, by image")
    pixels = test["pixels"]["reliability"]
    _diagram(axes[5], {name.replace("_", " "): row for name, row in pixels.items()}, "Reliability, by pixel")
    return chart(figure)


def _curve(axes: Axes, points: Mapping[str, Sequence[float]] | None, title: str, label: str) -> None:
    """Plot the first column along x and the others along y; nothing without points."""
    axes.set(title=title, xlim=(0, 1), ylim=(0, 1.02))
    if points is None:
        return
    (name, x), *columns = points.items()
    axes.set_xlabel(name.replace("_", " "))
    for each, y in columns:
        axes.plot(x, y, label=label or each.replace("_", " "))
    if len(columns) == 1:
        axes.set_ylabel(columns[0][0].replace("_", " "))
    axes.legend()


def _diagram(axes: Axes, diagrams: Mapping[str, Figures | None], title: str) -> None:
    axes.set(title=title, xlabel="mean probability", ylabel="share of defects", xlim=(0, 1), ylim=(0, 1))
    axes.plot((0, 1), (0, 1), color="grey", linestyle=":")
    for name, diagram in diagrams.items():
        if diagram is not None:
            x, y = zip(*((b["mean_probability"], b["defective_share"]) for b in diagram["bins"]), strict=True)
            axes.plot(x, y, marker="o", label=f"{name}, ECE {diagram['ece']:.3f}")
            axes.legend()


def calibration_chart(report: Figures) -> Figure:
    """Reliability diagrams of the report of `calibrate`: image, any defect, and each class."""
    outputs = {"image": report["image"], "any defect": report["any_defect"]} | report["classes"]
    columns = min(COLUMNS, len(outputs))
    rows = math.ceil(len(outputs) / columns)
    figure = Figure(figsize=(3.2 * columns, 3.2 * rows), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, output) in zip(places, outputs.items(), strict=False):
        _reliability(axes, name, output)
    for axes in places[len(outputs) :]:
        axes.remove()
    return figure


def _reliability(axes: Axes, name: str, output: Figures) -> None:
    axes.set(title=f"{name}: {output['method']}", xlabel="mean probability", ylabel="share of defects")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.plot((0, 1), (0, 1), color="grey", linestyle=":")
    for when in ("before", "after"):
        if (diagram := output[when]) is not None:
            points = [(each["mean_probability"], each["defective_share"]) for each in diagram["bins"]]
            axes.plot(*zip(*points, strict=True), marker="o", label=f"{when}, ECE {diagram['ece']:.4f}")
            axes.legend(fontsize="small")
