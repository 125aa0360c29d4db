"""Command line of the training package: `run` for the whole journey, and what else one does with data."""

import argparse
import shlex
import sys
from pathlib import Path

from app.inspection.errors import PasslineError
from training.config import ConfigError, StageName, load_config
from training.datasets.magnetic_tile import write_generated
from training.datasets.registry import LAYOUTS
from training.datasets.sample import DatasetError
from training.export import ParityError
from training.operating_point import OperatingPointError
from training.pipeline import STEPS, check_publishing, go
from training.publish import PublishError
from training.run import Request

EXPECTED = (ConfigError, DatasetError, ParityError, OperatingPointError, PublishError, PasslineError)
DEFAULT_CONFIG = Path(__file__).parent / "configs/fine-tune.yaml"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns 0, or 2 with one line on stderr where the input does not allow it."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    try:
        options.do(options, f"python -m training {shlex.join(arguments)}")
    except EXPECTED as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run(options: argparse.Namespace, command: str) -> None:
    data: dict[StageName, Path | None] = {"large": options.large_data, "small": options.data}
    request = Request(
        config=load_config(options.config),
        data=data,
        start=options.start,
        runs=options.runs,
        models=options.models,
        command=command,
        replace=options.replace,
        comparison=options.comparison,
    )
    runs = request.plan()
    for run in runs:
        check_publishing(run)
    for run in runs:
        go(run, options.until)
        where = run.models / run.config.name / run.config.version
        print(f"published {where}" if options.until == "publish" else f"{run.directory} is done")


def _generate(options: argparse.Namespace, _: str) -> None:
    write_generated(options.out, options.count, options.seed)
    print(f"{options.count} generated pictures in {options.out}")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(required=True)
    _add_run(commands.add_parser("run", help="from pictures to a published bundle"))
    data = commands.add_parser("data", help="make and check pictures").add_subparsers(required=True)
    generate = data.add_parser("generate", help="write generated tiles in the magnetic-tile layout")
    generate.add_argument("out", type=Path)
    generate.add_argument("--count", type=_count, default=100)
    generate.add_argument("--seed", type=int, default=1)
    generate.set_defaults(do=_generate)
    return parser


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="YAML, see training/configs")
    run.add_argument("--data", type=Path, help="root of the small set, in one of: " + ", ".join(LAYOUTS))
    run.add_argument("--large-data", type=Path, help="root of the large set, if that stage is to be run")
    run.add_argument("--from", dest="start", type=Path, help="bundle to start from, not a large stage")
    run.add_argument("--until", choices=list(STEPS), default="publish", help="the last step to take")
    run.add_argument("--runs", type=Path, default=Path("runs"), help="where working folders are made")
    run.add_argument("--models", type=Path, default=Path("models"), help="where bundles are published")
    run.add_argument("--replace", action="store_true", help="overwrite a published version")
    run.add_argument("--comparison", type=Path, help="folder of a run split by picture to report")
    run.set_defaults(do=_run)


if __name__ == "__main__":
    sys.exit(main())
