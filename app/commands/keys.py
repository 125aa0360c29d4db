"""`passline keys`: create, list and revoke API keys, in the file that PASSLINE_KEYS_FILE names."""

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.access.keys import SCOPES, Key, KeysUnusable, add_key, read_keys, revoke_key
from app.commands.folder import table

COLUMNS = ("name", "scope", "created", "expires", "cameras", "recipes")


def add_parser(parser: argparse.ArgumentParser) -> None:
    """Fill the parser of `keys`."""
    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", help="create a key; its token is printed once")
    add.add_argument("--name", required=True, help="who holds it; shown in logs and in the history")
    add.add_argument(
        "--scope",
        choices=SCOPES,
        required=True,
        help="inspect: send images, read model and metrics; operate: also recipes; admin: also bundles",
    )
    for name in ("camera", "recipe"):
        add.add_argument(
            f"--{name}",
            action="append",
            default=[],
            metavar="NAME",
            help=f"a {name} that a key to inspect may name; repeatable (default: none)",
        )
    add.add_argument("--days", type=int, help="days until it expires (default: it does not expire)")
    actions.add_parser("list", help="list the keys; tokens are not stored")
    actions.add_parser("revoke", help="revoke a key at once").add_argument("name")


def run(options: argparse.Namespace, file: Path | None) -> int:
    """Run one of the actions; raises KeysUnusable."""
    if file is None:
        raise KeysUnusable("set PASSLINE_KEYS_FILE to the file that the service reads its keys from")
    match options.action:
        case "add":
            lists = {"cameras": options.camera, "recipes": options.recipe}
            print(add_key(file, options.name, options.scope, _expiry(options.days), **lists))
            print(f"{options.name} may {options.scope}; the token is shown only once", file=sys.stderr)
        case "revoke":
            revoke_key(file, options.name)
            print(f"{options.name} is revoked", file=sys.stderr)
        case _:
            print(table(COLUMNS, map(_row, read_keys(file))))
    return 0


def _expiry(days: int | None) -> datetime | None:
    if days is None:
        return None
    if not 0 < days < 36_500:
        raise KeysUnusable(f"a key cannot be valid for {days} days")
    return datetime.now(UTC) + timedelta(days=days)


def _row(key: Key) -> tuple[str, ...]:
    expires = "" if key.expires is None else f"{key.expires:%Y-%m-%d}{' (over)' if key.has_expired else ''}"
    lists = (", ".join(key.cameras), ", ".join(key.recipes)) if not key.names_all else ("*", "*")
    return key.name, key.scope, f"{key.created:%Y-%m-%d}", expires, *lists
