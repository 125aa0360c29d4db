"""The commands that make and check pictures."""

import argparse
from pathlib import Path

from training.datasets.magnetic_tile import write_generated
from training.synthesis.writer import write_surfaces


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the commands below `data`."""
    commands = parser.add_subparsers(required=True)
    generate = commands.add_parser("generate", help="write generated tiles in the magnetic-tile layout")
    _add_out(generate, count=100)
    generate.set_defaults(do=_generate)
    synthesise = commands.add_parser("synthesise", help="write generated surfaces of many kinds, as shards")
    _add_out(synthesise, count=1000)
    synthesise.add_argument("--defective-share", type=_share, default=0.25)
    synthesise.set_defaults(do=_synthesise)


def _add_out(command: argparse.ArgumentParser, count: int) -> None:
    command.add_argument("out", type=Path, help="a new folder")
    command.add_argument("--count", type=positive, default=count)
    command.add_argument("--seed", type=int, default=1)


def _generate(options: argparse.Namespace) -> int:
    write_generated(options.out, options.count, options.seed)
    print(f"{options.count} generated pictures in {options.out}")
    return 0


def _synthesise(options: argparse.Namespace) -> int:
    write_surfaces(options.out, options.count, options.seed, options.defective_share)
    print(f"{options.count} generated pictures in {options.out}")
    return 0


def positive(text: str) -> int:
    """Parse a whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return share
