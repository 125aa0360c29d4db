"""Reliability diagrams of a calibration, before and after, one for each output."""

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMNS = 4


def calibration_chart(report: Mapping[str, Any]) -> Figure:
    """Draw the report of `calibrate`: the picture, any defect, and each class."""
    outputs = {"picture": report["image"], "any defect": report["any_defect"]} | report["classes"]
    columns = min(COLUMNS, len(outputs))
    rows = math.ceil(len(outputs) / columns)
    figure = Figure(figsize=(3.2 * columns, 3.2 * rows), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, output) in zip(places, outputs.items(), strict=False):
        _diagram(axes, name, output)
    for axes in places[len(outputs) :]:
        axes.remove()
    return figure


def _diagram(axes: Axes, name: str, output: Mapping[str, Any]) -> None:
    axes.set(title=f"{name}: {output['method']}", xlabel="mean probability", ylabel="share of defects")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.plot((0, 1), (0, 1), color="grey", linestyle=":")
    for when in ("before", "after"):
        if (diagram := output[when]) is not None:
            points = [(each["mean_probability"], each["defective_share"]) for each in diagram["bins"]]
            axes.plot(*zip(*points, strict=True), marker="o", label=f"{when}, ECE {diagram['ece']:.4f}")
            axes.legend(fontsize="small")
