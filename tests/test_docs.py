"""README and docs say what is: links lead somewhere, names exist, and every figure has a source."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.inspection.bundle.bundle import Bundle
from app.main import create_app
from app.problems import kinds
from app.settings import NOT_OURS, Settings, variable
from tests import readme_figures, reference_pages
from tests.markdown import FENCED, ROOT, anchors, links, pages, prose
from tests.marked import marked, without_marked
from tests.readme_picture import MOST_BYTES, PICTURE

README = ROOT / "README.md"
MOST_WORDS = 700  # of README: one sitting
ARCHITECTURE = ROOT / "docs/architecture.md"
RENEW = "run `python -m tests.readme_figures --write` and commit README.md"


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", pages(), ids=_name)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    for target in links(page):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{_name(page)} links to {target}, which does not exist"
        if anchor:
            assert anchor in anchors(file), f"{_name(page)} links to {target}, but there is no such heading"


def test_every_page_can_be_found_from_the_readme() -> None:
    found, todo = set[Path](), [README]
    while todo:
        page = todo.pop()
        if page in found:
            continue
        found.add(page)
        todo += [
            (page.parent / target.partition("#")[0]).resolve()
            for target in links(page)
            if target.partition("#")[0].endswith(".md") and ":" not in target
        ]
    lost = set(pages()) - found
    assert not lost, f"no link leads to {', '.join(map(_name, sorted(lost)))}"


def test_readme_is_short() -> None:
    text = FENCED.sub("", without_marked(README.read_text(encoding="utf-8")))
    assert len(text.split()) <= MOST_WORDS, "README has grown: move the details to a page in docs/"
    assert PICTURE.stat().st_size <= MOST_BYTES, "run `python -m tests.readme_picture --write`"


def test_results_are_those_of_the_shipped_bundle() -> None:
    shown = marked(README.read_text(encoding="utf-8"), "results")
    assert shown == readme_figures.results(readme_figures.BUNDLE), f"README's results are stale: {RENEW}"


def test_answer_shown_is_what_the_service_answers() -> None:
    shown = marked(README.read_text(encoding="utf-8"), "answer")
    assert shown, f"README shows no answer: {RENEW}"
    example = json.loads(shown.removeprefix("```json").removesuffix("```"))
    wrong = list(_differences("answer", example, readme_figures.inspect(readme_figures.BUNDLE)))
    assert not wrong, f"README's answer is stale in {', '.join(wrong)}: {RENEW}"


@pytest.mark.parametrize("name", reference_pages.PARTS)
def test_reference_tables_are_those_of_the_code(name: str) -> None:
    page, make = reference_pages.PARTS[name]
    assert marked(page.read_text(encoding="utf-8"), name) == make(), (
        f"{_name(page)} is stale: run `python -m tests.reference_pages --write` and commit it"
    )


def test_every_error_is_in_one_section() -> None:
    shown = [kind for section in reference_pages.SECTIONS for kind in reference_pages.errors_of(section)]
    assert sorted(shown, key=str) == sorted(kinds(), key=str)


def test_benchmarks_are_of_the_shipped_bundle_or_say_that_they_are_not() -> None:
    page = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    bundle = Bundle.load(readme_figures.BUNDLE)
    is_older = not marked(page, "benchmarks").startswith(f"{bundle.name} {bundle.version},")
    assert ("measured before the bundle that ships now" in page) is is_older, "run `make bench`"


def _differences(place: str, shown: Any, found: Any) -> Iterator[str]:
    """Where an abridged answer is not the one found: keys, items and the rest of a text may be left out.

    Numbers may differ a little: processors round the network's sums differently.
    """
    if type(shown) is not type(found):
        yield place
    elif isinstance(shown, dict):
        for key in shown:
            yield from _differences(f"{place}.{key}", shown[key], found.get(key))
    elif isinstance(shown, list):
        for number, each in enumerate(shown):
            yield from _differences(f"{place}.{number}", each, found[number] if number < len(found) else None)
    elif isinstance(shown, str) and shown.endswith("..."):
        if not found.startswith(shown.removesuffix("...")):
            yield place
    elif isinstance(shown, int | float) and not isinstance(shown, bool):
        if found != pytest.approx(shown, rel=0.1, abs=0.05):
            yield place
    elif shown != found:
        yield place


@pytest.mark.parametrize("page", [README, ROOT / "docs/benchmarks.md"], ids=_name)
def test_no_figure_is_written_by_hand(page: Path) -> None:
    """A rate, a percentage, a duration or a size in the prose has no command that would renew it."""
    by_hand = re.findall(r"\b0\.\d+\b|\b\d[\d.,]* ?(?:%|ms|s|MB|MiB|GB|GiB)(?!\w)", prose(page))
    assert not by_hand, f"{_name(page)} has {by_hand} outside of the parts that a command writes"


def test_architecture_names_every_folder() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    files = [file for room in ("app", "training") for file in (ROOT / room).rglob("*.py")]
    missing = {_name(file.parent) for file in files} - set(
        re.findall(r"^\| `([\w/]+)/` \|", text, re.MULTILINE)
    )
    assert not missing, f"docs/architecture.md says nothing of {', '.join(sorted(missing))}"
    known = {file.name for room in ("app", "training", "tests") for file in (ROOT / room).rglob("*.py")}
    gone = set(re.findall(r"`(\w+\.py)`", text)) - known
    assert not gone, f"docs/architecture.md names {', '.join(sorted(gone))}, which do not exist"


@pytest.mark.parametrize("package", ["app.inspection", "app", "training"])
def test_architecture_shows_the_layers_that_are_held(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each.get("containers") == [package])
    shown = "".join(f"   {layer}\n" for layer in layers)
    assert f"   ```text\n{shown}   ```\n" in ARCHITECTURE.read_text(encoding="utf-8")


def test_every_setting_named_exists() -> None:
    known = {variable(field) for field in Settings.model_fields} | NOT_OURS
    for page in pages():
        named = set(re.findall(r"PASSLINE_[A-Z][A-Z_]*[A-Z]", page.read_text(encoding="utf-8")))
        assert named <= known, f"{_name(page)} names {named - known}, which are no settings"


def test_every_metric_named_exists() -> None:
    metrics = create_app(Settings()).state.service.metrics
    known = set(re.findall(r"^# TYPE (\w+)", metrics.text().decode(), flags=re.MULTILINE))
    for page in pages():
        named = set(re.findall(r"`(passline_[a-z_]+)`", page.read_text(encoding="utf-8")))
        assert named <= known, f"{_name(page)} names {named - known}, which are no metrics"
