"""What README.md shows of the shipped bundle: its figures, and its answer to the quick start's image.

`python -m tests.readme_figures` prints both parts, `--write` puts them into README.md. A test compares
the page with them, so that every figure there is of the shipped bundle.
"""

import argparse
import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.main import create_app
from app.settings import Settings
from tests.local_client import LocalClient
from tests.markdown import ROOT
from tests.marked import renew
from training.bundle.publish import COMPARISON

README = ROOT / "README.md"
BUNDLE = ROOT / "models/magnetic-tile/6"
LARGE_STAGE = ROOT / "models/surface-large/4"
AIM = "The aim, as published: accuracy 0.96, precision 0.95, recall 0.97, Dice per defective image 0.75."
SAMPLE = "golden/break.png"
SHOWN = ("verdict", "reasons", "defects", "mask", "dice", "model")
DEFECT_SHOWN = ("defect_class", "score", "area_px", "length_px", "width_px", "bbox", "touches_border")
REASON_SHOWN = ("rule", "defect_class", "measured", "limit", "verdict")
WIDTH = 100
GLUE = "\u00a0"  # a space that textwrap does not break at
Figures = dict[str, Any]


def results(bundle: Path) -> str:
    """The table of results; every figure is from the bundle's or the large stage's `evaluation.json`."""
    evaluation = _read(bundle / "evaluation.json")
    sets = {"tiles never seen": evaluation["test"]}
    by_picture = bundle / COMPARISON
    if by_picture.exists():
        sets["split by image (another model)"] = _read(by_picture)["test"]
    sets["generated images"] = evaluation["generated"]
    sets["large set (`surface-large` 4)"] = _read(LARGE_STAGE / "evaluation.json")["test"]
    lines = [_line("", sets), _line("---", dict.fromkeys(sets, "---"))]
    lines += [
        _line(name, {key: show(figures) for key, figures in sets.items()}) for name, show in ROWS.items()
    ]
    confidence = _read(bundle / "bundle.json")["artifacts"][0]["operating_point"]["expected"]["confidence"]
    lines += ["", f"In brackets: exact (Clopper-Pearson) {confidence:.0%} intervals. {AIM}"]
    return "\n".join(lines)


def answer(bundle: Path) -> str:
    """The service's answer to the quick start's image, abridged, as a fenced block."""
    full = inspect(bundle)
    shown = {key: _rounded(full[key]) for key in SHOWN}
    shown["reasons"] = [{key: each[key] for key in REASON_SHOWN} for each in shown["reasons"]]
    shown["defects"] = [{key: each[key] for key in DEFECT_SHOWN} for each in shown["defects"][:1]]
    shown["mask"]["data"] = shown["mask"]["data"][:12] + "..."
    entries = [_entry(key, value) for key, value in shown.items()]
    return "\n".join(["```json", "{", ",\n".join(entries), "}", "```"])


def inspect(bundle: Path) -> dict[str, Any]:
    """The whole answer, over HTTP."""
    with LocalClient(create_app(Settings(bundle_dir=bundle, device="cpu"))) as client:
        response = client.post("/v1/inspections", files={"image": (bundle / SAMPLE).read_bytes()})
    response.raise_for_status()
    found: dict[str, Any] = response.json()
    return found


def main() -> None:
    """Print the parts, or write them."""
    parser = argparse.ArgumentParser(prog="python -m tests.readme_figures", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put them into README.md")
    write = parser.parse_args().write
    for name, make in (("results", results), ("answer", answer)):
        body = make(BUNDLE)
        print(body)
        if write:
            renew(README, name, body)


def _rate(name: str) -> Callable[[Figures], str]:
    def show(figures: Figures) -> str:
        rate = figures[name]
        if rate is None:
            return "-"
        low, high = rate["interval"]
        return f"{rate['value']:.3f} [{low:.3f}, {high:.3f}]"

    return show


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


ROWS: dict[str, Callable[[Figures], str]] = {
    "images (defective)": lambda figures: f"{figures['pictures']} ({figures['defective']})",
    "accuracy": _rate("accuracy"),
    "precision": _rate("precision"),
    "recall": _rate("recall"),
    "Dice per defective image": lambda figures: _number(figures["dice"]["per_defective_picture"]),
}


def _line(name: str, cells: dict[str, Any]) -> str:
    values = cells.values() if name else cells.keys()
    return "| " + " | ".join([name, *map(str, values)]) + " |"


def _entry(key: str, value: Any) -> str:
    text = f'"{key}": {json.dumps(value)}'
    text = re.sub(r"(?<=:) | (?=\d)", GLUE, text)  # a line breaks between two entries only
    lines = textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False)
    return lines.replace(GLUE, " ")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, 3) if isinstance(value, float) else value


def _read(path: Path) -> Figures:
    content: Figures = json.loads(path.read_text(encoding="utf-8"))
    return content


if __name__ == "__main__":
    main()
