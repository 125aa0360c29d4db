"""The benchmarks still run and write their page; what they measure is nobody's test."""

from pathlib import Path

import pytest

from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks import training_loop
from tests.benchmarks.timing import Times, in_turns
from tests.marked import marked
from tests.tiny_bundle import write_tiny_bundle


def test_benchmarks_write_their_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks, "STARTS", 1)
    monkeypatch.setattr(benchmarks, "SIZES", ((240, 320),))
    page = tmp_path / "page.md"
    page.write_text("<!-- benchmarks:begin -->\n<!-- benchmarks:end -->\n")
    bundle = write_tiny_bundle(tmp_path / "bundle")
    benchmarks.main(["--rounds", "10", "--bundle", str(bundle), "--page", str(page)])
    tables = marked(page.read_text(), "benchmarks")
    for expected in ("tiny 1, fp32 on CPUExecutionProvider", "320 x 240 px, PNG", "cold start to ready"):
        assert expected in tables


def test_too_few_rounds_are_refused() -> None:
    with pytest.raises(SystemExit, match="at least 10"):
        benchmarks.main(["--rounds", "9"])


def test_ways_take_turns_and_ratios_are_taken_round_by_round() -> None:
    calls: list[str] = []
    times = in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=10)
    assert "".join(calls) == "ab" * 13
    assert len(times["a"].ms) == 10
    assert Times((2.0, 20.0, 6.0)).ratio_to(Times((1.0, 5.0, 3.0))) == 2.0


@pytest.mark.slow
def test_the_loop_is_held_against_bare_steps(capsys: pytest.CaptureFixture[str]) -> None:
    training_loop.main(["--tile", "64", "--batch", "2", "--steps", "1", "--rounds", "10"])
    printed = capsys.readouterr().out
    assert "batches of 2 at 64 px, bf16-mixed" in printed
    assert "median of 10 pairs" in printed
