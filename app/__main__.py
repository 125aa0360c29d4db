"""Serve a bundle, inspect folders, verify bundles, train, make API keys, and more."""

import argparse
import json
import signal
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from pydantic import ValidationError

from app.access.keys import KeysUnusable
from app.bundles.storage import BundleJournal, bundle_to_serve
from app.bundles.tensorrt import build_engine
from app.commands import demo, folder
from app.commands import history as history_command
from app.commands import keys as keys_command
from app.commands import users as users_command
from app.database.connection import existing_database
from app.inspection.bundle.bundle import Bundle
from app.inspection.errors import PasslineError
from app.inspection.rules.recipe import load_recipe, recipe_schema
from app.jobs.loading import Loaded, load, load_inspector
from app.recipes.state import fitting
from app.server import SocketUnusable, serve
from app.settings import PackageMissing, Settings, UnknownSetting, variable, what_is_wrong

PLUGINS = "passline.commands"  # entry-point group: training adds a command, the service imports none


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit status, 2 with a line on stderr if it could not do its work."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["train"]:
        return _train(given[1:])
    options = _parser().parse_args(given)
    if arguments is None and options.command in {
        "inspect",
        "dry-run",
    }:  # not for callers in Python: it would end their process
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it quietly
    try:
        settings = Settings.from_environment()
        return _run(options, settings)
    except ValidationError as error:
        print("\n".join(what_is_wrong(error)), file=sys.stderr)
    except (PasslineError, UnknownSetting, PackageMissing, KeysUnusable, SocketUnusable) as error:
        print(error, file=sys.stderr)
    return folder.TROUBLE


def _train(arguments: list[str]) -> int:
    missing: str | None = "training"
    for plugin in entry_points(group=PLUGINS, name="train"):
        try:
            command: Callable[[list[str]], int] = plugin.load()
        except ModuleNotFoundError as error:
            missing = error.name
        else:
            return command(arguments)
    print(
        f"passline train needs the package {missing}, which is not installed here; install Passline with its "
        "extra `train`",
        file=sys.stderr,
    )
    return folder.TROUBLE


def _run(options: argparse.Namespace, settings: Settings) -> int:
    match options.command:
        case "serve":
            serve(settings)
            return 0
        case "inspect":
            return _inspect(options, settings)
        case "dry-run":
            return _dry_run(options, settings)
        case "verify":
            return _verify(options.bundle or _bundle_in_force(settings), settings)
        case "build-engine":
            return _build_engine(options.bundle or _bundle_in_force(settings), settings)
        case "keys":
            return keys_command.run(options, settings.keys_file)
        case "users":
            return users_command.run(options, settings)
        case "history":
            return history_command.run(options, settings)
        case "schema":
            print(json.dumps(recipe_schema(), indent=2))
            return 0
        case _:
            chosen = options.folder
            samples = (
                demo.folder_samples(chosen) if chosen else demo.golden_samples(_bundle_in_force(settings))
            )
            token = options.token_file.read_text().strip() if options.token_file else None
            return demo.run(demo.Target(options.url, token), samples, options.out)


def _loaded(settings: Settings) -> Loaded:
    """The bundle and its recipes, ready to inspect images; raises a PasslineError."""
    database = existing_database(settings)
    loaded = load(bundle_to_serve(settings, BundleJournal(database)), settings, database)
    loaded.recipes.check()
    return loaded


def _bundle_in_force(settings: Settings) -> Path:
    """The folder of the bundle that would be served; raises a PasslineError."""
    return bundle_to_serve(settings, BundleJournal(existing_database(settings)))


def _inspect(options: argparse.Namespace, settings: Settings) -> int:
    files = _pictures(options.folder)
    if not files:
        return folder.TROUBLE
    lines, out = [], options.certificates
    for each in folder.inspect_folder(_loaded(settings), files, options.recipe, certificates=out is not None):
        try:
            line = each if out is None else folder.keep_certificate(each, options.folder, out)
        except OSError as error:
            print(f"no certificate can be written in {out}: {error.strerror}", file=sys.stderr)
            return folder.TROUBLE
        lines.append(line)
        if options.json:
            print(line.as_json(), flush=True)
    if not options.json:
        print(folder.table(("image", "verdict", "decided by", "ms"), [line.as_row() for line in lines]))
    return folder.exit_status(lines)


def _pictures(place: Path) -> list[Path]:
    """The images of a folder; prints a message if there are none."""
    files = folder.pictures(place)
    if not files:
        print(f"there is no image ({', '.join(sorted(folder.SUFFIXES))}) in {place}", file=sys.stderr)
    return files


def _dry_run(options: argparse.Namespace, settings: Settings) -> int:
    files = _pictures(options.folder)
    if not files:
        return folder.TROUBLE
    loaded = _loaded(settings)
    candidate = fitting(load_recipe(options.candidate), loaded.inspector)
    answer = folder.dry_run_folder(loaded, candidate, files, options.recipe)
    print(answer.model_dump_json(indent=1) if options.json else folder.dry_run_table(answer))
    if answer.counts.problems:
        return folder.TROUBLE
    return folder.SOME_NOT if answer.counts.changed else folder.ALL_PASS


def _verify(directory: Path, settings: Settings) -> int:
    inspector = load_inspector(directory, settings)
    bundle, session = inspector.bundle, inspector.session
    where = f"{session.artifact.name} on {session.execution_provider}"
    print(f"{bundle.name} {bundle.version}: {len(bundle.hashes)} files are as published")
    print(f"{where} reproduces all {len(bundle.golden)} golden samples")
    return 0


def _build_engine(directory: Path, settings: Settings) -> int:
    if settings.engines_dir is None:
        print(f"{variable('engines_dir')} is not set; set it to a folder for engines", file=sys.stderr)
        return folder.TROUBLE
    print(build_engine(Bundle.load(directory), settings.engines_dir))
    return 0


def _parser() -> argparse.ArgumentParser:
    trains = find_spec("torch") is not None
    parser = argparse.ArgumentParser(
        prog="passline",
        description=__doc__,
        epilog=("" if trains else "To train, install Passline with its extra `train`: docs/training.md. ")
        + "Settings are environment variables: docs/settings.md.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="serve the bundle over HTTP")
    inspect = commands.add_parser(
        "inspect",
        help="inspect a folder; exit status 0: all pass, 1: some do not, 2: some could not be inspected",
    )
    inspect.add_argument("folder", type=Path)
    inspect.add_argument("--recipe", help="name of the recipe to use")
    inspect.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    inspect.add_argument(
        "--certificates",
        type=Path,
        metavar="FOLDER",
        help="write the certificate of each image to this folder",
    )
    dry = commands.add_parser(
        "dry-run",
        help="what a recipe would change for a folder; exit status 0: no verdict, 1: some, 2: as for inspect",
    )
    dry.add_argument("candidate", type=Path, metavar="RECIPE", help="file of the recipe to try")
    dry.add_argument("folder", type=Path)
    dry.add_argument(
        "--recipe",
        help="name of the recipe to compare with (default: that of the same name, else the default)",
    )
    dry.add_argument("--json", action="store_true", help="the answer as JSON instead of a table")
    verify = commands.add_parser("verify", help="check a bundle's files, load it and run its self-test")
    verify.add_argument(
        "bundle", type=Path, nargs="?", help="its folder (default: the one that would be served)"
    )
    engine = commands.add_parser(
        "build-engine", help="build the TensorRT engine of a bundle, before a service needs it"
    )
    engine.add_argument(
        "bundle", type=Path, nargs="?", help="its folder (default: the one that would be served)"
    )
    keys_command.add_parser(commands.add_parser("keys", help="make, list and revoke API keys"))
    users_command.add_parser(
        commands.add_parser("users", help="add, list, disable and remove people who log in")
    )
    history_command.add_parser(
        commands.add_parser("history", help="check what is kept of inspections, and inspect again")
    )
    commands.add_parser("schema", help="print the JSON Schema of recipes, for an editor")
    show = commands.add_parser("demo", help="post images to a running service; writes overlays")
    show.add_argument("folder", type=Path, nargs="?", help="images (default: the bundle's golden ones)")
    show.add_argument("--url", default="http://127.0.0.1:8000", help="the running service")
    show.add_argument("--token-file", type=Path, help="file with an API key's token, where one is needed")
    show.add_argument("--out", type=Path, default=Path("demo"), help="folder for the overlays")
    if trains:
        commands.add_parser("train", help="train, evaluate and publish bundles: see `passline train --help`")
    return parser


if __name__ == "__main__":
    sys.exit(main())
