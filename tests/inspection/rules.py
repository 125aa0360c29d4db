"""Random label maps and recipes, and tighter recipes, for the properties that every verdict must have."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.inspection.results import Severity

CLASSES = ("crack", "pore", "stain")
SEVERITIES: dict[str, Severity] = {"crack": "critical", "pore": "major", "stain": "minor"}
HEIGHT, WIDTH = 24, 32
SIZES = ("max_area_px", "max_length_px", "max_width_px", "max_total_area_px")

Content = dict[str, Any]

_sizes = st.sampled_from([0, 1, 2, 3, 4, 5, 6.5, 8, 12, 20, 40])
_densities = st.fixed_dictionaries(
    {"count": st.integers(0, 3), "window_px": st.sampled_from([0.5, 3, 6, 12.5, 50])}
)


def limits() -> st.SearchStrategy[Content]:
    """One set of limits in px."""
    fields = dict.fromkeys(SIZES, _sizes) | {"max_count": st.integers(0, 4), "max_density": _densities}
    fields["min_distance_px"] = _sizes
    return st.fixed_dictionaries({}, optional=fields).filter(bool)


def recipes(regions: bool = True) -> st.SearchStrategy[Content]:
    """The content of a valid recipe with limits in px."""
    one = limits()
    by_class = st.dictionaries(st.sampled_from(CLASSES), one, max_size=2)
    by_severity = st.dictionaries(st.sampled_from(["critical", "major", "minor"]), one, max_size=2)
    extra = st.fixed_dictionaries({"other": one}, optional={"limits": by_class, "severities": by_severity})
    optional: dict[str, st.SearchStrategy[Any]] = {
        "limits": by_class,
        "severities": by_severity,
        "other": one,
        "review": extra,
    }
    optional |= {"border": st.sampled_from(["judge", "review"])}
    optional |= {"min_estimated_dice": st.sampled_from([0.0, 0.5, 0.9])}
    if regions:
        polygon = {"polygon_px": st.sampled_from(POLYGONS)}
        small = st.fixed_dictionaries({"polygon_px": st.sampled_from(SMALL)})
        zone = st.fixed_dictionaries(polygon | {"other": one}, optional={"review": extra, "limits": by_class})
        optional |= {"zones": st.dictionaries(st.sampled_from(["rim", "face"]), zone, max_size=2)}
        optional["ignore"] = st.lists(small, max_size=2)
    return st.fixed_dictionaries(
        {"name": st.just("random"), "pixel_pitch_mm": st.just(0.5)}, optional=optional
    )


POLYGONS = [
    [[0, 0], [16, 0], [16, 24], [0, 24]],
    [[8, 4], [28, 4], [28, 20], [8, 20]],
    [[2, 22], [15.5, 1.5], [30, 22]],
]

SMALL = [[[10, 8], [13, 8], [13, 19]], [[20, 2], [30, 2], [30, 6], [20, 6]]]


@st.composite
def label_maps(draw: st.DrawFn, width: int = WIDTH) -> NDArray[np.uint8]:
    """Rectangles of random classes, uint8 [HEIGHT, WIDTH], in the first `width` columns."""
    label_map = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    number = st.integers(0, 2**16 - 1)
    for seed in draw(st.lists(number, max_size=6)):
        rng = np.random.default_rng(seed)
        x, y = rng.integers(0, width), rng.integers(0, HEIGHT)
        w, h = rng.integers(1, 9, size=2)
        label_map[y : y + h, x : min(x + w, width)] = rng.integers(1, len(CLASSES) + 1)
    return label_map


@st.composite
def tightenings(draw: st.DrawFn, content: Content) -> Content:
    """The same recipe with a few limits lower, or more of them."""
    tighter = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        one = draw(st.sampled_from(list(_limit_sets(tighter))))
        name = draw(st.sampled_from([*SIZES, "max_count", "max_density", "min_distance_px"]))
        if name == "max_density":
            old = one.get(name, {"count": 3, "window_px": 4})
            wider = draw(st.sampled_from([0, 1, 10]))
            count = draw(st.integers(0, old["count"]))
            one[name] = {"count": count, "window_px": old["window_px"] + wider}
        elif name == "min_distance_px":
            one[name] = one.get(name, 0) + draw(st.sampled_from([0.5, 1, 10]))
        else:
            highest = int(one.get(name, 20))
            one[name] = draw(st.integers(0, highest))
    if draw(st.booleans()):
        tighter["border"] = "review"
    tighter["min_estimated_dice"] = max(tighter.get("min_estimated_dice", 0), draw(st.sampled_from([0, 0.7])))
    return tighter


def _limit_sets(content: Content) -> Iterator[Content]:
    """Every set of limits, so that it can be changed in place."""
    content.setdefault("other", {"max_count": 0})
    rules = [content, *content.get("zones", {}).values()]
    rules += [each["review"] for each in rules if "review" in each]
    for each in rules:
        yield from each.get("limits", {}).values()
        yield from each.get("severities", {}).values()
        yield each["other"]


def in_mm(content: Any, pitch: float) -> Any:
    """The same content with every limit, window and polygon in mm."""
    if isinstance(content, list):
        return [in_mm(each, pitch) for each in content]
    if not isinstance(content, dict):
        return content
    found: Content = {}
    for name, value in content.items():
        if name == "polygon_px":
            found["polygon_mm"] = [[x * pitch, -y * pitch] for x, y in value]
        elif "area_px" in name:
            found[name.replace("_px", "_mm2")] = value * pitch**2
        elif name.endswith("_px"):
            found[name.replace("_px", "_mm")] = value * pitch
        else:
            found[name] = in_mm(value, pitch)
    return found
