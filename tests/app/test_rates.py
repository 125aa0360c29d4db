"""Rates in operation: intervals cover the truth, and looking at what is interesting does not bias them."""

import numpy as np
import pytest

from app.history.rates import Rates, Stratum, rates_of

SHARES = {"pass": 0.90, "fail": 0.08, "review": 0.02}


def simulated(
    chance: np.random.Generator, bad: dict[str, float], sampled: dict[str, float], inspections: int
) -> tuple[Rates, float, float]:
    """The rates of a simulated history, and its true escape and overkill rates."""
    strata, drawn, bads, goods = {}, 0, {}, {}
    for verdict, share in SHARES.items():
        number = round(inspections * share)
        is_bad = chance.random(number) < bad[verdict]
        is_drawn = chance.random(number) < sampled[verdict]
        drawn += int(is_drawn.sum())
        weight = 1 / sampled[verdict]
        strata[verdict] = Stratum(number, [(weight, bool(each)) for each in is_bad[is_drawn]])
        bads[verdict], goods[verdict] = int(is_bad.sum()), int((~is_bad).sum())
    return (
        rates_of(strata, drawn),
        bads["pass"] / sum(bads.values()),
        goods["fail"] / sum(goods.values()),
    )


@pytest.mark.parametrize(
    ("bad", "sampled"),
    [
        ({"pass": 0.005, "fail": 0.90, "review": 0.5}, {"pass": 0.05, "fail": 0.2, "review": 0.2}),
        ({"pass": 0.0005, "fail": 0.97, "review": 0.6}, {"pass": 0.05, "fail": 0.3, "review": 0.3}),
        ({"pass": 0.03, "fail": 0.60, "review": 0.3}, {"pass": 0.02, "fail": 0.1, "review": 0.1}),
    ],
)
def test_intervals_cover_the_true_rates(bad: dict[str, float], sampled: dict[str, float]) -> None:
    chance, turns = np.random.default_rng(5), 150
    covered = np.zeros(2)
    for _ in range(turns):
        rates, escape, overkill = simulated(chance, bad, sampled, 20_000)
        assert rates.escape is not None
        assert rates.overkill is not None
        covered += (
            rates.escape.low <= escape <= rates.escape.high,
            rates.overkill.low <= overkill <= rates.overkill.high,
        )
    assert (covered / turns > 0.90).all(), covered / turns


def test_a_rate_that_changed_within_the_period_does_not_bias() -> None:
    """Half of the time with many defects, sampled rarely; half with few, sampled often."""
    chance, found = np.random.default_rng(6), []
    for _ in range(40):
        reviews = []
        for bad, rate in ((0.10, 0.02), (0.00, 0.20)):
            is_bad = chance.random(10_000) < bad
            drawn = chance.random(10_000) < rate
            reviews += [(1 / rate, bool(each)) for each in is_bad[drawn]]
        fails = Stratum(1000, [(1.0, True)] * 1000)
        rates = rates_of({"pass": Stratum(20_000, reviews), "fail": fails}, len(reviews) + 1000)
        assert rates.escape is not None
        found.append(rates.escape.value)
    assert np.mean(found) == pytest.approx(0.5, abs=0.03)  # 1,000 escapes beside 1,000 fails


def test_too_few_reviews_give_no_figure_but_the_reason() -> None:
    few = rates_of({"pass": Stratum(1000, [(1.0, False)] * 29)}, 29)
    assert (few.escape, few.overkill) == (None, None)
    assert few.why == "29 inspections of the sample are reviewed; 30 are needed"
    chosen = rates_of({"pass": Stratum(1000, [(1.0, False)] * 80)}, 100)
    assert chosen.why == "80 of 100 inspections drawn are reviewed; 90% are needed"


def test_without_a_defective_part_there_is_no_escape_rate() -> None:
    rates = rates_of({"pass": Stratum(1000, [(1.0, False)] * 100), "fail": Stratum(0, [])}, 100)
    assert rates.escape is None
    assert rates.overkill is not None
    assert rates.overkill.value == 0


def test_the_same_reviews_give_the_same_interval() -> None:
    strata = {
        "pass": Stratum(1000, [(1.0, False)] * 99 + [(1.0, True)]),
        "fail": Stratum(50, [(1.0, True)] * 50),
    }
    assert rates_of(strata, 150) == rates_of(strata, 150)
