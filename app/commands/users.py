"""`passline users`: add, list, change and remove people who log in, in the database of the settings."""

import argparse
import getpass
import sys

from pydantic import TypeAdapter, ValidationError

from app.access.users import ROLES, User, Users
from app.access_errors import PasswordUnfit
from app.commands.folder import table
from app.database.connection import open_database
from app.inspection.types import Name
from app.schemas.people import Role
from app.settings import Settings

WHO = "command"  # in the audit log: somebody with a shell on the box


def add_parser(parser: argparse.ArgumentParser) -> None:
    """Fill the parser of `users`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", help="add a user, or give one another role and password")
    add.add_argument("name")
    add.add_argument(
        "--role",
        choices=ROLES,
        required=True,
        help="operator: review; engineer: also recipes and audit log; admin: also bundles, users and keys",
    )
    actions.add_parser("list", help="list the users")
    for action, what in (
        ("passwd", "set a new password, and end the user's sessions"),
        ("disable", "refuse further log-ins, and end the user's sessions"),
        ("remove", "remove a user"),
    ):
        actions.add_parser(action, help=what).add_argument("name")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Run one of the actions; raises a PasslineError."""
    database = open_database(settings)
    try:
        return _run(options, Users(database))
    finally:
        database.close()


def _run(options: argparse.Namespace, users: Users) -> int:
    match options.action:
        case "add":
            _add(users, options.name, options.role)
        case "passwd":
            users.set_password(WHO, options.name, _password(options.name))
            print(f"{options.name} has a new password", file=sys.stderr)
        case "disable":
            users.disable(WHO, options.name)
            print(f"{options.name} cannot log in any more", file=sys.stderr)
        case "remove":
            users.remove(WHO, options.name)
            print(f"{options.name} is removed", file=sys.stderr)
        case _:
            print(table(("name", "role", "created", "state"), map(_row, users.all())))
    return 0


def _add(users: Users, name: str, role: Role) -> None:
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise PasswordUnfit(
            f"{name!r} is not a name; use 1 to 64 of letters, digits, `.`, `_` and `-`"
        ) from None
    users.put(WHO, name, role, password=_password(name))
    print(f"{name} is {role}", file=sys.stderr)


def _password(name: str) -> str:
    """The password from the terminal, twice and without echo, or the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass(f"password of {name}: ")
    if getpass.getpass("the same again: ") != first:
        raise PasswordUnfit("the two passwords are not the same")
    return first


def _row(user: User) -> tuple[str, ...]:
    return user.name, user.role, f"{user.created:%Y-%m-%d}", "disabled" if user.disabled else ""
