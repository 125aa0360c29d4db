"""The benchmarks still run and write their page; what they measure is nobody's test."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks import against_peers, large, million, picture_times, training_loop
from tests.benchmarks.goals import Goal
from tests.benchmarks.load import measured
from tests.benchmarks.timing import Times, in_turns
from tests.marked import marked
from tests.tiny_bundle import write_tiny_bundle


@pytest.mark.slow
def test_benchmarks_write_their_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_times, "STARTS", 1)
    monkeypatch.setattr(picture_times, "SIZES", ((240, 320),))
    tables = _written("benchmarks", tmp_path)
    for expected in ("tiny 1, fp32 on CPUExecutionProvider", "320 x 240 px, PNG", "cold start"):
        assert expected in tables


@pytest.mark.slow
def test_peers_are_held_against_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against_peers, "STARTS", 1)
    monkeypatch.setattr(against_peers, "CLIENTS", (8,))
    tables = _written("peers", tmp_path, "--seconds", "0.05", "--peers", "fastapi-onnx")
    for expected in (
        "| 8 clients |",
        "| FastAPI + ONNX Runtime | its defaults |",
        "p99 / p50, 8 clients | at most",
    ):
        assert expected in tables


def test_a_request_counts_by_how_much_of_it_lies_within_the_turn() -> None:
    turn = measured([(0.0, 2.0), (2.0, 3.0), (3.5, 4.5), (5.0, 6.0)], begin=1.0, end=4.0)
    assert turn.per_s == pytest.approx((0.5 + 1.0 + 0.5) / 3)
    assert turn.latencies_ms == (2000.0, 1000.0)


def test_goals_are_reached_on_one_side_of_the_bound() -> None:
    assert Goal("rate", 0.92, "at least", 0.93).row == "| rate | at least 0.92 | 0.93 | reached |"
    assert Goal("start", 3, "at most", 3.5, "s").row == "| start | at most 3 s | 3.50 s | **missed** |"


def _written(part: str, tmp_path: Path, *more: str) -> str:
    """What a part of the benchmarks writes, of a bundle whose tiles are of a size that is generated."""
    page = tmp_path / "page.md"
    page.write_text(f"<!-- {part}:begin -->\n<!-- {part}:end -->\n")
    bundle = write_tiny_bundle(tmp_path / "bundle", tile=128)
    arguments = ["--only", part, "--rounds", "10", "--bundle", str(bundle), "--page", str(page)]
    benchmarks.main([*arguments, *more])
    return marked(page.read_text(), part)


def test_too_few_rounds_are_refused() -> None:
    with pytest.raises(SystemExit, match="at least 10"):
        benchmarks.main(["--rounds", "9"])


def test_ways_take_turns_and_ratios_are_taken_round_by_round() -> None:
    calls: list[str] = []
    times = in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=10)
    assert "".join(calls) == "ab" * 13
    assert len(times["a"].ms) == 10
    assert Times((2.0, 20.0, 6.0)).ratio_to(Times((1.0, 5.0, 3.0))) == 2.0


def test_questions_to_a_large_history_are_timed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- million:begin -->\n<!-- million:end -->\n")
    bundle = str(write_tiny_bundle(tmp_path / "bundle"))
    arguments = ["--rows", "300", "--asked", "1", "--bundle", bundle, "--folder", str(tmp_path)]
    million.main([*arguments, "--page", str(page)])
    table = marked(page.read_text(), "million")
    assert "| the newest | 50 |" in table
    assert "| a camera without rows | 0 |" in table
    assert "| slowest page, p95 | at most 100 ms |" in table


def test_long_frames_are_fitted_by_a_straight_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    large.main(["--one", "256", "--bundle", str(bundle), "--rounds", "1"])
    cost = large.Cost(**json.loads(capsys.readouterr().out))
    assert (cost.height, cost.width) == (256, 2048)
    assert 0 < cost.inference_ms < cost.ms
    costs = [
        replace(cost, height=500 * n, width=2000, ms=300.0 * n + 20, cpu_ms=400.0 * n) for n in (1, 2, 4)
    ]
    costs[0] = replace(costs[0], peak_bytes=2_500_000)
    table = large.report(bundle, costs, 2)
    assert "| 2000 x 500 | 320 | 400 |" in table
    assert "| 2.4 | 2.50 |" in table
    assert "Elapsed time: 300 ms/megapixel and 20 ms, R² 1.0000." in table


@pytest.mark.slow
def test_the_loop_is_held_against_bare_steps(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--tile", "64", "--batch", "2", "--steps", "1", "--rounds", "10", "--precision", "32-true"]
    training_loop.main(arguments)
    printed = capsys.readouterr().out
    assert "batches of 2 at 64 px, 32-true" in printed
    assert "median of 10 pairs" in printed
