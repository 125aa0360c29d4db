"""Command line of the training package: from pictures to a published bundle, and what helps on the way."""

import argparse
import shlex
import sys
from pathlib import Path

from app.inspection.errors import PasslineError
from training.bundle.export import ParityError
from training.bundle.publish import PublishError
from training.config import ConfigError
from training.data.registry import LAYOUTS
from training.data.sample import DatasetError
from training.data_commands import add_data, at_least
from training.model.strategies import STRATEGIES
from training.pipeline import UNTIL
from training.run_commands import compare, cross_validate, curve, evaluate, operating_point, run
from training.studies.comparison import ComparisonError
from training.studies.learning_curve import FOLDS
from training.thresholds.operating_point import OperatingPointError

EXPECTED = (
    ConfigError,
    DatasetError,
    ParityError,
    OperatingPointError,
    PublishError,
    ComparisonError,
    PasslineError,
    OSError,  # such as a folder that cannot be made or written to
)
DEFAULT_CONFIG = Path(__file__).parent / "configs/fine-tune.yaml"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns what it returns, or 2 with one line on stderr where the input is at fault."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    options.command = f"passline train {shlex.join(_placeless(arguments, options))}"
    try:
        status: int = options.do(options)
    except EXPECTED as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return status


def _placeless(arguments: list[str], options: argparse.Namespace) -> list[str]:
    """The arguments as they may be published: data roots and folders by their names, not as they lie here."""
    names = {
        str(value): name.upper()
        for name, value in vars(options).items()
        if isinstance(value, Path) and value.is_absolute()
    }
    names |= {each: f"{each.partition('=')[0]}=ROOT" for each in vars(options).get("other", ())}
    told = []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        told.append(
            f"{option}={names[value]}" if equals and value in names else names.get(argument, argument)
        )
    return told


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="passline train", description=__doc__)
    commands = parser.add_subparsers(required=True)
    _add_run(commands.add_parser("run", help="from pictures to a published bundle"))
    _add_evaluate(commands.add_parser("evaluate", help="a bundle's figures on any labelled set"))
    _add_operating_point(
        commands.add_parser("operating-point", help="thresholds by risk, with what is proven of them")
    )
    folds = commands.add_parser("cross-validate", help="the figures of a run by repeated grouped k-fold")
    _add_study(folds, cross_validate)
    _add_folds(folds)
    strategies = commands.add_parser("compare", help="transfer strategies on the same folds, in one table")
    _add_study(strategies, compare)
    _add_folds(strategies)
    strategies.add_argument("--strategies", default=",".join(STRATEGIES), help="separated by commas")
    curves = commands.add_parser("learning-curve", help="figures against the share of the training groups")
    _add_study(curves, curve)
    curves.add_argument(
        "--folds", type=int, choices=range(1, FOLDS + 1), default=FOLDS, help=f"the first of {FOLDS}"
    )
    curves.add_argument("--shares", default="0.05,0.1,0.25,0.5,1", help="separated by commas")
    add_data(commands.add_parser("data", help="make and check pictures"))
    return parser


def _add_run(command: argparse.ArgumentParser) -> None:
    _add_plan(command)
    command.add_argument("--until", choices=UNTIL, default="publish", help="the last step to take")
    command.add_argument("--replace", action="store_true", help="overwrite a published version")
    command.add_argument("--comparison", type=Path, help="folder of a run split by picture to report")
    command.add_argument(
        "--cross-validation", type=Path, help="folder of this run's cross-validation to report"
    )
    command.set_defaults(do=run)


def _add_plan(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="YAML, see training/configs")
    command.add_argument("--data", type=Path, help=f"root of the small set, in one of: {', '.join(LAYOUTS)}")
    command.add_argument("--large-data", type=Path, help="root of the large set, if that stage is to be run")
    command.add_argument("--from", dest="start", type=Path, help="bundle to start from, not a large stage")
    command.add_argument("--runs", type=Path, default=Path("runs"), help="where working folders are made")
    command.add_argument("--models", type=Path, default=Path("models"), help="where bundles are published")


def _add_folds(command: argparse.ArgumentParser) -> None:
    command.add_argument("--folds", type=at_least(2), default=5)
    command.add_argument("--repeats", type=at_least(1), default=1)


def _add_study(command: argparse.ArgumentParser, do: object) -> None:
    _add_plan(command)
    command.set_defaults(do=do, until="evaluate", replace=True, comparison=None, cross_validation=None)


def _add_evaluate(command: argparse.ArgumentParser) -> None:
    command.add_argument("bundle", type=Path)
    command.add_argument("--data", type=Path, required=True, help="root of a labelled set")
    command.add_argument("--layout", choices=list(LAYOUTS), help="that of the set; found out where not given")
    command.add_argument("--splits", type=Path, help="splits.json of a run: take one part of the set")
    command.add_argument("--part", default="test", help="which part of --splits; default test")
    command.add_argument("--changes", type=at_least(0), default=0, metavar="N", help="pictures to change")
    command.add_argument("--other", action="append", default=[], metavar="NAME=ROOT", help="another set")
    command.add_argument(
        "--interval-repeats", type=at_least(0), default=0, metavar="N", help="halvings to check intervals on"
    )
    command.add_argument("--out", type=Path, required=True, help="folder for evaluation.json and .html")
    command.set_defaults(do=evaluate)


def _add_operating_point(command: argparse.ArgumentParser) -> None:
    command.add_argument("bundle", type=Path)
    command.add_argument("--data", type=Path, required=True, help="root of a labelled set never trained on")
    command.add_argument("--layout", choices=list(LAYOUTS), help="that of the set; found out where not given")
    command.add_argument("--splits", type=Path, help="splits.json of a run: take one part of the set")
    command.add_argument("--part", default="calibration", help="which part of --splits; default calibration")
    aim = command.add_mutually_exclusive_group(required=True)
    aim.add_argument("--max-escape", type=float, metavar="RATE", help="escape rate to be proven, as 0.01")
    aim.add_argument("--max-overkill", type=float, metavar="RATE", help="overkill rate to be proven")
    aim.add_argument(
        "--cost", type=float, nargs=2, metavar=("ESCAPE", "OVERKILL"), help="what an error of each kind costs"
    )
    aim.add_argument("--beta", type=float, help="best F-beta of the picture-level call; 1: best F1")
    command.add_argument("--defective-share", type=float, help="of the line, for --cost; else the set's")
    command.add_argument("--confidence", type=float, default=0.95)
    command.add_argument("--by", choices=["group", "picture"], default="group", help="what is counted")
    command.set_defaults(do=operating_point)


if __name__ == "__main__":
    sys.exit(main())
