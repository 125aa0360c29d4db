"""Thresholds by risk: bounds, what is promised and how often the promise is broken, refusals."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.stats import beta, binom

from app.inspection.rules.trade_off import TradeOff
from training.config import OperatingPointConfig
from training.statistics import interval, trials_needed, upper_bound
from training.thresholds.risk import choose_row, thinned, trade_off
from training.thresholds.risk_text import table_text

Floats = NDArray[np.float64]


def _asking(**asked: Any) -> OperatingPointConfig:
    return OperatingPointConfig.model_validate(asked)


def _table(bad: Sequence[float], good: Sequence[float], groups: Sequence[str] = ()) -> TradeOff:
    """Of the image probabilities of defective and good images; without names each is its own group."""
    names = groups or [str(number) for number in range(len(bad) + len(good))]
    table = trade_off([*bad, *good], [True] * len(bad) + [False] * len(good), names, 0.95)
    assert table is not None
    return table


def test_interval_is_clopper_pearson() -> None:
    # The textbook case: 8 of 10 at 95 % gives 0.444 to 0.975.
    assert interval(8, 10, 0.95) == pytest.approx((0.4439, 0.9748), abs=1e-4)
    assert interval(0, 10, 0.95) == pytest.approx((0, 1 - 0.025**0.1))
    assert interval(10, 10, 0.95) == pytest.approx((0.025**0.1, 1))


def test_upper_bound_is_where_so_few_events_become_improbable() -> None:
    assert upper_bound(0, 299, 0.95) == pytest.approx(1 - 0.05 ** (1 / 299))
    assert upper_bound(5, 5, 0.95) == 1
    for events, trials in ((0, 40), (3, 40), (39, 40)):
        assert binom.cdf(events, trials, upper_bound(events, trials, 0.9)) == pytest.approx(0.1)


def test_rule_of_three() -> None:
    assert [trials_needed(events, 0.01, 0.95) for events in (0, 1, 2)] == [299, 473, 628]
    assert trials_needed(0, 0.5, 0.95) == 5
    for events, rate in ((0, 0.02), (4, 0.1)):
        enough = trials_needed(events, rate, 0.99)
        assert upper_bound(events, enough, 0.99) <= rate < upper_bound(events, enough - 1, 0.99)


def test_table_has_only_thresholds_that_no_other_beats() -> None:
    table = _table(bad=[0.2, 0.5, 0.6, 0.9], good=[0.1, 0.3, 0.4, 0.7, 0.95])
    assert [row.image_threshold for row in table.rows] == pytest.approx([0.15, 0.45, 0.8])
    assert [row.picture.escapes for row in table.rows] == [0, 1, 3]
    assert [row.picture.overkills for row in table.rows] == [4, 2, 1]
    assert table.rows[1].picture.escape_bound == upper_bound(1, 4, 0.95)
    assert table.rows[1].picture.overkill_bound == upper_bound(2, 5, 0.95)


def test_a_group_errs_where_any_of_its_pictures_does() -> None:
    # Part a has both kinds of images; it is one of two defective and one of two good groups.
    names = ["a", "a", "b", "a", "c", "c"]
    table = _table(bad=[0.3, 0.8, 0.9], good=[0.1, 0.2, 0.6], groups=names)
    assert (table.picture.defective, table.group.defective, table.group.good) == (3, 2, 2)
    low, high = table.rows
    assert (low.group.escapes, low.group.overkills) == (0, 1)
    assert (high.picture.escapes, high.group.escapes, high.group.overkills) == (1, 1, 0)
    assert high.group.escape_bound == upper_bound(1, 2, 0.95)


def test_limit_that_is_proven() -> None:
    bad = np.linspace(0.5, 1, 500)
    good = np.linspace(0, 0.6, 1001)
    row, chosen = choose_row(_table(bad.tolist(), good.tolist()), _asking(max_escape=0.01))
    assert (row.picture.escapes, chosen.met) == (1, True)  # 1 of 473 proves 1 %, 2 need 628
    said = "met: escape <= 1 % at 95 %, overkill 16.5 % [14.2 %, 18.9 %], by group; "
    assert chosen.sentence.startswith(said)
    assert upper_bound(2, 500, 0.95) > 0.01 >= row.picture.escape_bound


def test_limit_that_is_not_provable_says_what_would_prove_it() -> None:
    table = _table([0.4, *np.linspace(0.5, 1, 58)], [0.1, 0.45])
    row, chosen = choose_row(table, _asking(max_escape=0.01))
    assert (row.picture.escapes, chosen.met, chosen.target) == (0, False, 0.01)
    said = "not provable: escape <= 1 % at 95 % with 59 defective groups: needs 240 more without an escape; "
    assert chosen.sentence.startswith(said + "best provable is 4.95 %, with overkill 50 % [1.26 %, 98.7 %]")
    escaped = _table([0.05, *np.linspace(0.5, 1, 58)], [0.1, 0.45])  # one is lost to every sane threshold
    assert "needs 414 more without an escape" in choose_row(escaped, _asking(max_escape=0.01))[1].sentence
    row, chosen = choose_row(table, _asking(max_overkill=0.2))
    assert (row.picture.overkills, chosen.met) == (0, False)
    assert "with 2 good groups: needs 12 more without an overkill" in chosen.sentence


def test_overkill_limit_takes_the_fewest_escapes_within_it() -> None:
    table = _table(np.linspace(0.4, 1, 50).tolist(), np.linspace(0, 0.5, 400).tolist())
    row, chosen = choose_row(table, _asking(max_overkill=0.05))
    within = [each for each in table.rows if each.picture.overkill_bound <= 0.05]
    assert chosen.met
    assert 0 < row.picture.escapes == min(each.picture.escapes for each in within)


def test_cost_weighs_errors_by_price_and_by_the_share_of_defective_parts() -> None:
    table = _table(np.linspace(0.3, 1, 40).tolist(), np.linspace(0, 0.7, 60).tolist())

    def escapes(**cost: float) -> int:
        row, chosen = choose_row(table, _asking(cost=cost))
        assert (chosen.mode, chosen.met, chosen.target) == ("cost", None, None)
        assert "promises nothing" in chosen.sentence
        return row.picture.escapes

    assert escapes(escape=1000, overkill=1) == 0
    assert escapes(escape=1, overkill=1000) == table.rows[-1].picture.escapes
    # Where hardly a part is defective, most of what is stopped is good.
    assert escapes(escape=10, overkill=1, defective_share=0.001) > escapes(escape=10, overkill=1)


def test_f_beta_is_the_best_of_all_thresholds() -> None:
    rng = np.random.default_rng(3)
    bad, good = rng.beta(4, 2, 60), rng.beta(2, 4, 90)

    def f2(threshold: float) -> float:
        hits, alarms = (bad >= threshold).sum(), (good >= threshold).sum()
        return float(5 * hits / (4 * 60 + hits + alarms))

    row, chosen = choose_row(_table(bad.tolist(), good.tolist()), _asking(beta=2))
    assert f2(row.image_threshold) == max(map(f2, np.concatenate([bad, good])))
    assert chosen.sentence.startswith("best F2, which promises nothing: escape ")


def _broken(
    draw: Callable[[np.random.Generator], tuple[Floats, list[str]]],
    true_rate: Callable[[float], float],
    config: OperatingPointConfig,
    times: int = 200,
) -> tuple[float, float]:
    """Of many calibration sets, the share whose limit is met on paper, and the share where it is not kept."""
    rng = np.random.default_rng(8)
    met = broken = 0
    for _ in range(times):
        bad, groups = draw(rng)
        good = rng.beta(2, 5, 60)
        names = groups + [f"good {number}" for number in range(60)]
        row, chosen = choose_row(_table(bad.tolist(), good.tolist(), names), config)
        met += bool(chosen.met)
        broken += bool(chosen.met) and true_rate(row.image_threshold) > 0.05
    return met / times, broken / times


MARGIN = 3 * (0.05 * 0.95 / 200) ** 0.5  # three standard deviations of a share of 200


def test_promise_is_broken_no_more_often_than_said() -> None:
    def draw(rng: np.random.Generator) -> tuple[Floats, list[str]]:
        return rng.beta(4, 2, 200), [f"bad {number}" for number in range(200)]

    met, broken = _broken(draw, lambda threshold: float(beta.cdf(threshold, 4, 2)), _asking(max_escape=0.05))
    assert met > 0.95  # it is not kept by never promising
    assert 0.005 < broken <= 0.05 + MARGIN  # and not by wasting what the images could prove


def test_copies_of_a_part_break_the_promise_by_picture_and_not_by_group() -> None:
    def draw(rng: np.random.Generator) -> tuple[Floats, list[str]]:
        parts = np.repeat(rng.beta(4, 2, 80), 5)  # five images of each part, nearly the same
        return parts - rng.uniform(0, 1e-6, 400), [f"bad {number // 5}" for number in range(400)]

    def true_rate(threshold: float) -> float:
        return float(beta.cdf(threshold, 4, 2))

    by_group = _broken(draw, true_rate, _asking(max_escape=0.05, by="group"))
    by_picture = _broken(draw, true_rate, _asking(max_escape=0.05, by="picture"))
    assert by_group[0] > 0.5
    assert by_group[1] <= 0.05 + MARGIN
    assert by_picture[1] > 0.15


def test_long_table_is_thinned_and_keeps_its_ends_and_the_choice() -> None:
    rng = np.random.default_rng(5)
    table = _table(rng.uniform(0.2, 1, 400).tolist(), rng.uniform(0, 0.8, 400).tolist())
    kept = table.rows[101]
    thin = thinned(table, kept)
    assert 64 <= len(thin.rows) <= 65 < len(table.rows)
    assert kept in thin.rows
    assert (thin.rows[0], thin.rows[-1]) == (table.rows[0], table.rows[-1])
    assert TradeOff.model_validate_json(thin.model_dump_json(), strict=True) == thin
    assert len(table_text(thin).splitlines()) == len(thin.rows) + 2


@pytest.mark.parametrize(
    ("bad", "good"), [([0.5, 0.5], [0.5]), ([0.1, 0.2], [0.8, 0.9]), ([0.3, 0.4], [0.4, 0.6])]
)
def test_no_threshold_where_each_would_stop_all_good_or_pass_all_defective(
    bad: list[float], good: list[float]
) -> None:
    kinds = [True] * len(bad) + [False] * len(good)
    assert trade_off([*bad, *good], kinds, [str(each) for each in range(len(kinds))], 0.95) is None


@pytest.mark.parametrize(
    "asked",
    [
        {"max_escape": 0.01, "max_overkill": 0.1},
        {"max_escape": 0.01, "beta": 2},
        {"max_escape": 0},
        {"cost": {"escape": 10}},
        {"cost": {"escape": 10, "overkill": -1}},
    ],
)
def test_what_cannot_be_asked_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OperatingPointConfig.model_validate(asked)


def test_earlier_configurations_are_still_valid() -> None:
    assert (_asking(beta=2).mode, _asking().mode, _asking().by) == ("max-f1", "max-f1", "group")
    written = _asking(max_escape=0.01).model_dump(mode="json")
    assert OperatingPointConfig.model_validate(written).mode == "max-escape"
