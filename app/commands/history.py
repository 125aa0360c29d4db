"""`passline history`: check what is kept, and inspect a kept image again."""

import argparse
import hashlib
import sys
from pathlib import Path

from app.bundles.storage import BundleFolder
from app.database.connection import Database, existing_database
from app.history.dataset import write_dataset
from app.history.errors import HistoryOff
from app.history.filters import Filters
from app.history.history import History
from app.history.objects import files_of
from app.history.verify import Checked, verify
from app.inspection.decoding.decode import DecodeLimits
from app.inspection.inspector import Inspector
from app.inspection.rules.recipe import parse_recipe
from app.jobs.loading import load_inspector, open_recipes
from app.jobs.redraw import upload_of
from app.schemas.bundles import BundleName
from app.settings import Settings

SAME, CHANGED, TROUBLE = 0, 1, 2


def add_parser(parser: argparse.ArgumentParser) -> None:
    """Add the commands to the parser of `passline history`."""
    commands = parser.add_subparsers(dest="history", required=True, metavar="COMMAND")
    commands.add_parser(
        "verify", help="check rows, images and masks; exit status 0: as written, 1: something is not"
    )
    commands.add_parser("prune", help="delete now what retention no longer keeps")
    replay = commands.add_parser(
        "replay", help="inspect a kept image again; exit status 0: the same mask and verdict, 1: another"
    )
    replay.add_argument("id", help="the inspection's id")
    export = commands.add_parser(
        "export", help="write the reviewed inspections as a data set that `passline train` reads"
    )
    export.add_argument("out", type=Path, help="a new folder")
    export.add_argument("--camera", action="append", default=[], help="only of this camera; may be repeated")
    export.add_argument("--recipe", action="append", default=[], help="only of this recipe; may be repeated")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Run one of them; raises a PasslineError."""
    database = existing_database(settings)
    if database is None:
        raise HistoryOff(f"there is no database in {settings.data_dir} (PASSLINE_DATA_DIR) yet")
    try:
        match options.history:
            case "verify":
                return _verify(database, settings)
            case "prune":
                return _prune(database, settings)
            case "replay":
                return _replay(database, settings, options.id)
            case _:
                return _export(database, settings, options)
    finally:
        database.close()


def _verify(database: Database, settings: Settings) -> int:
    checked, found = Checked(), 0
    for finding in verify(database, files_of(settings), checked):
        found += 1
        print(f"{finding.box} {finding.position} {finding.id or '-'}: {finding.what}")
    for box, (position, last) in sorted((checked.heads or {}).items()):
        print(f"{box}: the last row is {position} with hash {last}; note it elsewhere")
    print(f"{checked.rows} rows and {checked.files} files: {found or 'nothing'} changed or removed")
    return CHANGED if found else SAME


def _prune(database: Database, settings: Settings) -> int:
    history = History(settings.model_copy(update={"history": "off"}), database)
    deleted = history.retention.run(settings.box)
    print(f"{deleted.images} images and {deleted.rows} rows deleted")
    return SAME


def _replay(database: Database, settings: Settings, id: str) -> int:
    history = History(settings.model_copy(update={"history": "off"}), database)
    columns = history.store.columns(id)
    inspector = _inspector_of(settings, columns["bundle"], columns["bundle_version"])
    for what, wanted, now in (
        ("bundle.json", columns["manifest_sha256"], inspector.bundle.manifest_sha256),
        ("artifact", columns["artifact"], inspector.session.artifact.name),
        ("execution provider", columns["execution_provider"], inspector.session.execution_provider),
    ):
        if wanted != now:
            print(f"the {what} is not the same: {wanted} then, {now} now", file=sys.stderr)
    recipes = open_recipes(inspector, settings, database, lambda _: None).state
    known = recipes.version(columns["recipe"], columns["recipe_version"])
    recipe = parse_recipe(known.text or "", known.name)
    if columns["significant_bits"] is not None:
        recipe = recipe.model_copy(update={"significant_bits": columns["significant_bits"]})
    again = inspector.inspect(upload_of(history, columns), recipe)
    is_same = hashlib.sha256(again.label_map.tobytes()).hexdigest() == columns["mask_sha256"]
    print(f"mask: {'the same, bit for bit' if is_same else 'another one'}")
    print(f"verdict: {again.verdict}, then {columns['verdict']}")
    return SAME if is_same and again.verdict == columns["verdict"] else CHANGED


def _export(database: Database, settings: Settings, options: argparse.Namespace) -> int:
    history = History(settings.model_copy(update={"history": "off"}), database)
    limits = DecodeLimits(max_bytes=settings.max_upload_bytes, max_pixels=settings.max_pixels)
    filters = Filters(cameras=tuple(options.camera), recipes=tuple(options.recipe))
    written = write_dataset(history, options.out, filters, limits)
    for why in written.left_out:
        print(f"left out: {why}", file=sys.stderr)
    print(
        f"{options.out}: {written.good} good and {written.defective} defective images, of which "
        f"{written.without_place} without a mask"
    )
    return SAME


def _inspector_of(settings: Settings, name: str, version: str) -> Inspector:
    """The bundle in the folder of bundles if one is set, else the one of the settings."""
    if settings.bundles_dir is None:
        return load_inspector(settings.bundle_dir, settings)
    place = BundleFolder(settings.bundles_dir).find(BundleName(name=name, version=version))
    return load_inspector(place, settings)
