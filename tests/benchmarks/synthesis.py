"""`python -m tests.benchmarks.synthesis`: how fast surfaces are generated, and what one costs."""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.benchmarks.ways import machine
from training.data.synthesis.generator import SurfaceSet


@dataclass(frozen=True)
class Speed:
    """Of one way to generate."""

    pictures_per_s: float  # by the clock, whatever else the machine does
    cpu_ms: float  # of this process, per picture


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    options = _parser().parse_args(arguments)
    print(f"{options.count} pictures of {options.side} x {options.side} px; {machine()}")
    for threads in (1, options.threads):
        speed = measure(options.count, options.side, threads)
        rate = f"{speed.pictures_per_s:.1f} images/s"
        print(f"{threads} thread(s): {rate}, {speed.cpu_ms:.1f} ms of CPU an image")


def measure(count: int, side: int, threads: int) -> Speed:
    """Generate `count` pictures, a quarter of them defective, after a few that do not count."""
    pictures = SurfaceSet(count, seed=0, size=(side, side))
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(pictures.__getitem__, range(min(count, 8))))
        cpu, clock = time.process_time(), time.perf_counter()
        for _ in pool.map(pictures.__getitem__, range(count)):
            pass
        cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    return Speed(count / clock, 1000 * cpu / count)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.synthesis", description=__doc__)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--side", type=int, default=256, help="of a picture, in px")
    parser.add_argument("--threads", type=int, default=2)
    return parser


if __name__ == "__main__":
    main()
