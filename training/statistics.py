"""Exact binomial (Clopper-Pearson) bounds of a rate, and how many trials would prove one."""

from scipy.special import betaincinv


def interval(events: int, trials: int, confidence: float) -> tuple[float, float]:
    """Exact binomial interval of a rate, by Clopper and Pearson (1934)."""
    tail = (1 - confidence) / 2
    low = float(betaincinv(events, trials - events + 1, tail)) if events else 0.0
    return low, upper_bound(events, trials, 1 - tail)


def upper_bound(events: int, trials: int, confidence: float) -> float:
    """The rate that the true one is below at a one-sided confidence, by Clopper and Pearson (1934)."""
    return float(betaincinv(events + 1, trials - events, confidence)) if events < trials else 1.0


def trials_needed(events: int, rate: float, confidence: float) -> int:
    """How few trials with no more than `events` events prove that the true rate is at most `rate`.

    Without an event that is the rule of three: about 3 / rate at 95 %.
    """
    enough = events + 1
    while upper_bound(events, enough, confidence) > rate:
        enough *= 2
    too_few = events
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if upper_bound(events, middle, confidence) > rate:
            too_few = middle
        else:
            enough = middle
    return enough
