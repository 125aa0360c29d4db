"""`python -m app`: serve, inspect a folder, verify a bundle, or show a running service at work."""

import argparse
import signal
import sys
from pathlib import Path

from pydantic import ValidationError

from app import demo, folder
from app.inspection.errors import PasslineError
from app.server import serve
from app.service import load
from app.settings import Settings, UnknownSetting, variable


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is 2 where it could not do its work, and a line on stderr says why."""
    options = _parser().parse_args(arguments)
    try:
        settings = Settings.from_environment()
        return _run(options, settings)
    except ValidationError as error:
        for each in error.errors():
            name = ".".join(variable(str(part)) for part in each["loc"]) or "settings"
            print(f"{name}: {each['msg']}", file=sys.stderr)
    except (PasslineError, UnknownSetting) as error:
        print(error, file=sys.stderr)
    return folder.TROUBLE


def _run(options: argparse.Namespace, settings: Settings) -> int:
    match options.command:
        case "serve":
            serve(settings)
            return 0
        case "inspect":
            return _inspect(options, settings)
        case "verify":
            return _verify(settings.model_copy(update={"bundle_dir": options.bundle or settings.bundle_dir}))
        case _:
            chosen = options.folder
            samples = demo.folder_samples(chosen) if chosen else demo.golden_samples(settings.bundle_dir)
            return demo.run(options.url, samples, options.out)


def _inspect(options: argparse.Namespace, settings: Settings) -> int:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it quietly
    files = folder.pictures(options.folder)
    if not files:
        print(
            f"there is no picture ({', '.join(sorted(folder.SUFFIXES))}) in {options.folder}", file=sys.stderr
        )
        return folder.TROUBLE
    lines = []
    for line in folder.inspect_folder(load(settings), files, options.recipe):
        lines.append(line)
        if options.json:
            print(line.as_json(), flush=True)
    if not options.json:
        print(folder.table(("picture", "verdict", "decided by", "ms"), [line.as_row() for line in lines]))
    return folder.exit_status(lines)


def _verify(settings: Settings) -> int:
    inspector = load(settings.model_copy(update={"recipes_dir": None, "default_recipe": None})).inspector
    bundle, session = inspector.bundle, inspector.session
    where = f"{session.artifact.name} on {session.execution_provider}"
    print(f"{bundle.name} {bundle.version}: {len(bundle.hashes)} files are as published")
    print(f"{where} reproduces all {len(bundle.golden)} golden samples")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app",
        description=__doc__,
        epilog="Settings are environment variables: docs/settings.md.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve the bundle over HTTP")
    inspect = commands.add_parser(
        "inspect",
        help="inspect a folder; exit status 0: all pass, 1: some do not, 2: some could not be inspected",
    )
    inspect.add_argument("folder", type=Path)
    inspect.add_argument("--recipe", help="name of the recipe to judge by")
    inspect.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    verify = commands.add_parser("verify", help="check a bundle's files, load it and run its self-test")
    verify.add_argument(
        "bundle", type=Path, nargs="?", help="its folder (default: the one that would be served)"
    )
    show = commands.add_parser("demo", help="post pictures to a running service; writes overlays")
    show.add_argument("folder", type=Path, nargs="?", help="pictures (default: the bundle's golden ones)")
    show.add_argument("--url", default="http://127.0.0.1:8000", help="the running service")
    show.add_argument("--out", type=Path, default=Path("demo"), help="folder for the overlays")
    return parser


if __name__ == "__main__":
    sys.exit(main())
