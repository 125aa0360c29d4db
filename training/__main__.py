"""Command line of the training package: one command per stage, and `run` for all of them in order."""

import argparse
import sys
from pathlib import Path

from app.inspection.errors import PasslineError
from training.config import ConfigError, load_config
from training.datasets.magnetic_tile import write_generated
from training.datasets.sample import DatasetError
from training.export import ParityError
from training.operating_point import OperatingPointError
from training.pipeline import STAGES, run_all
from training.publish import PublishError
from training.run import Run

EXPECTED = (ConfigError, DatasetError, ParityError, OperatingPointError, PublishError, PasslineError)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns 0, or 2 with one line on stderr where the input does not allow it."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "generate":
            write_generated(options.out, options.count, options.seed)
            print(f"{options.count} generated pictures in {options.out}")
        else:
            _stage(options)
    except EXPECTED as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _stage(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    run = Run(
        config=config,
        config_name=options.config.name if options.config.is_absolute() else options.config.as_posix(),
        data=options.data,
        large_data=options.large_data,
        directory=options.run or Path("runs") / f"{config.name}-{config.version}",
        models=options.models,
        replace=options.replace,
        comparison=options.comparison,
    )
    if options.command == "run":
        print(f"published {run_all(run)}")
        return
    run.claim()
    result = STAGES[options.command](run)
    if options.command == "publish":
        print(f"published {result}")
    else:
        print(f"stage {options.command} is done; its results are in {run.directory}")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", *STAGES):
        help_text = "every stage in order" if name == "run" else f"only the stage {name}"
        command = commands.add_parser(name, help=help_text)
        command.add_argument("--config", type=Path, required=True, help="YAML, see training/configs")
        command.add_argument("--data", type=Path, required=True, help="root of the small set")
        command.add_argument(
            "--large-data", type=Path, help="root of the large set, if the config has that stage"
        )
        command.add_argument("--run", type=Path, help="working folder; default runs/NAME-VERSION")
        command.add_argument(
            "--models", type=Path, default=Path("models"), help="where bundles are published"
        )
        command.add_argument("--replace", action="store_true", help="overwrite a published version")
        command.add_argument(
            "--comparison", type=Path, help="working folder of a run split by picture to report beside"
        )
    generate = commands.add_parser("generate", help="write generated tiles in the magnetic-tile layout")
    generate.add_argument("out", type=Path)
    generate.add_argument("--count", type=_count, default=100)
    generate.add_argument("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
