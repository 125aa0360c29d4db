"""What can be wrong with the database."""

from app.errors import ServingError


class DatabaseUnusable(ServingError):
    """The database cannot be reached, read or written; nothing was stored.

    The message names the cause, such as a full disk, a folder that cannot be written or a server that does
    not answer.

    Remedy: Correct the cause.

    Retry: when the cause is corrected
    """

    code = "database_unusable"
    title = "The database cannot be used"
    status = 503


class DatabaseNewer(ServingError):
    """The database was written by a newer release, whose tables this one does not know.

    Remedy: Install that release again, or restore the backup that was made before the upgrade.
    """

    code = "database_newer"
    title = "The database is newer than this release"
    status = 503
