"""Command line of the training package: train, evaluate and publish bundles; prepare and check images."""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.inspection.errors import PasslineError
from training.bundle.export import ParityError
from training.bundle.publish import PublishError
from training.config import ConfigError
from training.data.registry import LAYOUTS
from training.data.sample import DatasetError
from training.data_commands import add_data, add_reading, at_least
from training.model.lightning_module import FitError
from training.model.strategies import STRATEGIES
from training.pipeline import UNTIL
from training.run_commands import (
    compare,
    cross_validate,
    curve,
    evaluate,
    operating_point,
    retrain,
    run,
    study_gate,
)
from training.studies.comparison import ComparisonError
from training.studies.learning_curve import FOLDS
from training.thresholds.operating_point import OperatingPointError

EXPECTED = (
    ConfigError,
    DatasetError,
    FitError,
    ParityError,
    OperatingPointError,
    PublishError,
    ComparisonError,
    PasslineError,
    OSError,  # such as a folder that cannot be made or written to
)
DEFAULT_CONFIG = Path(__file__).parent / "configs/fine-tune.yaml"


class Stopped(BaseException):
    """SIGTERM was received; not an Exception, so that no `except Exception` catches it."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns its exit code, or 2 with one line on stderr if the input is wrong, or 143 or 130 if a signal
    stopped it.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    options.command = f"passline train {shlex.join(_placeless(arguments, options))}"
    try:
        with _stopped_by_sigterm():
            status: int = options.do(options)
    except EXPECTED as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (Stopped, KeyboardInterrupt) as error:
        number = signal.SIGTERM if isinstance(error, Stopped) else signal.SIGINT
        print(f"stopped by {number.name}; run the same command to continue", file=sys.stderr)
        return 128 + number
    return status


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Raise Stopped on SIGTERM; a forked process just exits."""
    own = os.getpid()

    def stop(number: int, _: object) -> None:
        if os.getpid() != own:
            os._exit(128 + number)
        raise Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _placeless(arguments: list[str], options: argparse.Namespace) -> list[str]:
    """The arguments for publication: data roots and folders by name, without local paths."""
    names = {value: name.upper() for name, value in vars(options).items() if isinstance(value, Path)}
    return [_without_place(argument, names) for argument in arguments]


def _without_place(text: str, names: dict[Path, str]) -> str:
    """An argument, OPTION=VALUE or NAME=ROOT, with a path outside the working folder replaced by a name."""
    path = Path(text)
    if path.is_absolute() or ".." in path.parts:
        return names.get(path, "ROOT")
    before, equals, value = text.partition("=")
    return f"{before}={_without_place(value, names)}" if equals else text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="passline train", description=__doc__)
    commands = parser.add_subparsers(required=True)
    _add_run(commands.add_parser("run", help="train a bundle from images and publish it"))
    _add_evaluate(commands.add_parser("evaluate", help="measure a bundle on a labelled data set"))
    _add_operating_point(
        commands.add_parser("operating-point", help="thresholds by risk, with their proven bounds")
    )
    folds = commands.add_parser("cross-validate", help="measure a run by repeated grouped k-fold")
    _add_study(folds, cross_validate)
    _add_folds(folds)
    strategies = commands.add_parser("compare", help="compare transfer strategies on the same folds")
    _add_study(strategies, compare)
    _add_folds(strategies)
    strategies.add_argument("--strategies", default=",".join(STRATEGIES), help="separated by commas")
    curves = commands.add_parser("learning-curve", help="figures against the share of the training groups")
    _add_study(curves, curve)
    curves.add_argument(
        "--folds", type=int, choices=range(1, FOLDS + 1), default=FOLDS, help=f"the first of {FOLDS}"
    )
    curves.add_argument("--shares", default="0.05,0.1,0.25,0.5,1", help="separated by commas")
    _add_study_gate(
        commands.add_parser("study-gate", help="false alarms of the input gate, by grouped folds")
    )
    _add_from_history(
        commands.add_parser("from-history", help="make a new version of a bundle from reviewed inspections")
    )
    add_data(commands.add_parser("data", help="make, import and check images"))
    return parser


def _add_run(command: argparse.ArgumentParser) -> None:
    _add_plan(command)
    command.add_argument("--until", choices=UNTIL, default="publish", help="the last step to run")
    command.add_argument("--replace", action="store_true", help="overwrite a published version")
    command.add_argument("--comparison", type=Path, help="folder of a run split by image to report")
    command.add_argument(
        "--cross-validation", type=Path, help="folder of this run's cross-validation to report"
    )
    command.set_defaults(do=run)


def _add_from_history(command: argparse.ArgumentParser) -> None:
    command.add_argument("data", type=Path, help="what `passline history export` wrote")
    command.add_argument("--bundle", type=Path, required=True, help="bundle in force, with its weights")
    command.add_argument("--steps", type=at_least(1), default=300, help="of the fit; default 300")
    command.add_argument("--runs", type=Path, default=Path("runs"), help="folder for working folders")
    command.add_argument("--models", type=Path, default=Path("models"), help="folder to publish bundles in")
    command.set_defaults(do=retrain)


def _add_plan(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="YAML, see training/configs")
    command.add_argument("--data", type=Path, help=f"root of the small set, in layout {', '.join(LAYOUTS)}")
    command.add_argument("--large-data", type=Path, help="root of the large set, to run the large stage")
    command.add_argument(
        "--from", dest="start", type=Path, help="bundle to start from, such as your previous one"
    )
    command.add_argument("--runs", type=Path, default=Path("runs"), help="folder for working folders")
    command.add_argument("--models", type=Path, default=Path("models"), help="folder to publish bundles in")


def _add_folds(command: argparse.ArgumentParser) -> None:
    command.add_argument("--folds", type=at_least(2), default=5)
    command.add_argument("--repeats", type=at_least(1), default=1)


def _add_study(command: argparse.ArgumentParser, do: object) -> None:
    _add_plan(command)
    command.set_defaults(do=do, until="evaluate", replace=True, comparison=None, cross_validation=None)


def _add_evaluate(command: argparse.ArgumentParser) -> None:
    command.add_argument("bundle", type=Path)
    command.add_argument("--data", type=Path, required=True, help="root of a labelled set")
    add_reading(command)
    command.add_argument("--splits", type=Path, help="splits.json of a run: use one split of the set")
    command.add_argument("--part", default="test", help="the split in --splits to use; default test")
    command.add_argument(
        "--changes", type=at_least(0), default=0, metavar="N", help="images for the table of changes"
    )
    command.add_argument(
        "--other", action="append", default=[], metavar="NAME=ROOT", help="another labelled set"
    )
    command.add_argument(
        "--interval-repeats",
        type=at_least(0),
        default=0,
        metavar="N",
        help="random halvings to check intervals on",
    )
    command.add_argument("--out", type=Path, required=True, help="folder for evaluation.json and .html")
    command.set_defaults(do=evaluate)


def _add_study_gate(command: argparse.ArgumentParser) -> None:
    command.add_argument("bundle", type=Path)
    command.add_argument("--data", type=Path, required=True, help="root of a labelled set")
    add_reading(command)
    command.add_argument("--folds", type=at_least(2), default=5)
    command.add_argument("--images", type=at_least(1), default=200, help="images to manipulate; default 200")
    command.add_argument("--out", type=Path, default=Path("gate.json"), help="default gate.json")
    command.set_defaults(do=study_gate)


def _add_operating_point(command: argparse.ArgumentParser) -> None:
    command.add_argument("bundle", type=Path)
    command.add_argument("--data", type=Path, required=True, help="root of a labelled set never trained on")
    add_reading(command)
    command.add_argument("--splits", type=Path, help="splits.json of a run: use one split of the set")
    command.add_argument(
        "--part", default="calibration", help="the split in --splits to use; default calibration"
    )
    aim = command.add_mutually_exclusive_group(required=True)
    aim.add_argument("--max-escape", type=float, metavar="RATE", help="escape rate to prove, such as 0.01")
    aim.add_argument("--max-overkill", type=float, metavar="RATE", help="overkill rate to prove")
    aim.add_argument(
        "--cost", type=float, nargs=2, metavar=("ESCAPE", "OVERKILL"), help="cost of each kind of error"
    )
    aim.add_argument("--beta", type=float, help="threshold with the best F-beta by image; 1: best F1")
    command.add_argument(
        "--defective-share",
        type=float,
        help="share of defective parts on the line, for --cost; else the set's",
    )
    command.add_argument("--confidence", type=float, default=0.95)
    command.add_argument("--by", choices=["group", "picture"], default="group", help="unit of the counts")
    command.set_defaults(do=operating_point)


if __name__ == "__main__":
    sys.exit(main())
