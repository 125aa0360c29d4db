"""The commands below `data`: make, import and check images."""

import argparse
import json
import shlex
from collections.abc import Callable
from pathlib import Path

from training.config import ConfigError
from training.config_files import labels_of
from training.data.audit import check
from training.data.exports.importing import FORMATS, import_export
from training.data.exports.writer import LABELS
from training.data.layouts.magnetic_tile import write_generated
from training.data.registry import LAYOUTS, read_dataset
from training.data.sample import DatasetError
from training.data.splits import part_of, read_splits
from training.data.synthesis.writer import write_surfaces
from training.transplant.measure import Study, measure_transplants
from training.transplant.plausibility import frozen_encoder
from training.transplant.transplant import CROP_SIDE_PX
from training.transplant.write import write_transplants

AUDIT = "audit.html"  # the page of `data check` in an imported set
WHOLE_SIDE_PX = 320  # size to which whole images are resized for features


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
    _add_import(commands.add_parser("import", help="convert the export of an annotation tool to a set"))
    audit = commands.add_parser("check", help="find faults, copies and leaks in a set; exit code 1 if any")
    _add_root(audit)
    audit.add_argument("--splits", type=Path, help="splits.json of a run: find copies across its splits")
    audit.add_argument("--out", type=Path, default=Path("audit.html"), help="the page; default audit.html")
    audit.set_defaults(do=_check)
    transplant = commands.add_parser("transplant", help="put generated defects on the good images of a set")
    _add_root(transplant)
    _add_out(transplant, count=200)
    transplant.add_argument(
        "--splits", type=Path, required=True, help="splits.json of a run: only its training split is used"
    )
    transplant.set_defaults(do=_transplant)
    study = commands.add_parser("measure-transplants", help="benefit of transplants on a set, as JSON")
    _add_root(study)
    study.add_argument("--share", type=_share, default=Study.share, help="share of defective groups to use")
    study.add_argument("--count", type=at_least(1), default=Study.count, help="images generated per fold")
    study.add_argument("--folds", type=at_least(2), default=Study.folds)
    study.add_argument("--seed", type=at_least(0), default=Study.seed)
    study.set_defaults(do=_measure_transplants)


def _add_import(command: argparse.ArgumentParser) -> None:
    formats = "; ".join(f"{name}: {each.what}" for name, each in FORMATS.items())
    command.add_argument(
        "--format", required=True, metavar="FORMAT", help=f"{formats}; datumaro:NAME: a format of datumaro"
    )
    command.add_argument("source", metavar="SRC", type=Path, help="the export: its folder or zip file")
    command.add_argument("out", metavar="OUT", type=Path, help="a new folder")
    command.set_defaults(do=_import)


def _add_root(command: argparse.ArgumentParser) -> None:
    command.add_argument("root", type=Path, help="root of a labelled set")
    add_reading(command)


def add_reading(command: argparse.ArgumentParser) -> None:
    """Add the options to read a data set."""
    command.add_argument("--layout", choices=list(LAYOUTS), help="layout of the set; default: detected")
    command.add_argument(
        "--labels",
        type=Path,
        metavar="YAML",
        help="meaning of labels: a file with `labels`, or a run's configuration",
    )


def _add_out(command: argparse.ArgumentParser, count: int) -> None:
    command.add_argument("out", type=Path, help="a new folder")
    command.add_argument("--count", type=at_least(1), default=count)
    command.add_argument("--seed", type=at_least(0), default=1)


def _generate(options: argparse.Namespace) -> int:
    write_generated(options.out, options.count, options.seed)
    print(f"{options.count} generated images in {options.out}")
    return 0


def _synthesise(options: argparse.Namespace) -> int:
    write_surfaces(options.out, options.count, options.seed, options.defective_share)
    print(f"{options.count} generated images in {options.out}")
    return 0


def _import(options: argparse.Namespace) -> int:
    imported = import_export(options.format, options.source, options.out)
    print("\n".join([f"{imported.images} images in {options.out}", *imported.notes]))
    labels = options.out / LABELS if imported.renamed else None
    try:
        dataset = read_dataset(options.out, "coco", unlabelled=True, labels=labels_of(labels))
    except DatasetError as error:
        print(f"imported, but cannot be trained on yet: {error}")
        return 1
    audit = check(dataset, options.out / AUDIT)
    print(f"{audit.summary}\nreport: {options.out / AUDIT}")
    config = [] if labels is None else ["--config", "CONFIG"]
    more = "" if labels is None else f" (a configuration with the labels of {labels})"
    print(f"next: {shlex.join(['passline', 'train', 'run', '--data', str(options.out), *config])}{more}")
    return 1 if audit.faults else 0


def _check(options: argparse.Namespace) -> int:
    splits = None if options.splits is None else read_splits(options.splits)
    if options.out.is_dir():
        raise ConfigError(f"--out {options.out} is a folder; give a file for the page")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    labels = labels_of(options.labels)
    dataset = read_dataset(options.root, options.layout, unlabelled=True, labels=labels)
    audit = check(dataset, options.out, splits)
    print(f"{audit.summary}\nreport: {options.out}")
    return 1 if audit.faults else 0


def _transplant(options: argparse.Namespace) -> int:
    dataset = read_dataset(options.root, options.layout, labels=labels_of(options.labels))
    train = part_of(dataset, options.splits, "train")
    made = write_transplants(options.out, train, options.count, options.seed)
    print(f"{made.summary()}\nwritten: {options.out}")
    return 0


def _measure_transplants(options: argparse.Namespace) -> int:
    study = Study(options.share, options.count, options.folds, options.seed)
    dataset = read_dataset(options.root, options.layout, labels=labels_of(options.labels))
    whole, crop = frozen_encoder(WHOLE_SIDE_PX), frozen_encoder(CROP_SIDE_PX)
    print(json.dumps(measure_transplants(dataset, study, whole, crop), indent=1))
    return 0


def at_least(least: int) -> Callable[[str], int]:
    """Return a parser of whole numbers of at least `least`, for argparse."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return parse


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return share
