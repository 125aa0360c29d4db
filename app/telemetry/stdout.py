"""Log lines on stdout that never hold up or fail whoever logs: what cannot be written is lost and counted."""

import errno
import logging
import os
import stat
import sys


class Stdout:
    """What a log handler needs of a stream, past Python's buffers: a line is written whole or not at all.

    Only where a file system is full it may be cut off; then the next one starts on a line of its own.
    """

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._cut_off = False

    def write(self, text: str) -> None:
        """Write a line; raises OSError where it cannot be written at once."""
        if self._fd is None:
            raise OSError(errno.EBADF, "stdout is closed")
        data = ("\n" * self._cut_off + text).encode("utf-8", "backslashreplace")
        written = os.write(self._fd, data)
        self._cut_off = 0 < written < len(data)
        if written < len(data):
            raise OSError(errno.ENOSPC, "the line was cut off")

    def flush(self) -> None:
        """Nothing is kept back."""


class LineHandler(logging.StreamHandler[Stdout]):
    """Writes lines; `lost` is how many could not be written, in all of the process."""

    lost = 0

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the standard library's name
        """Count the line as lost: the part in front of the camera matters more."""
        LineHandler.lost += 1


def unwaited() -> Stdout:
    """The process' stdout, never waited for: a full pipe that nobody reads would stop the line.

    Nor is stderr, where ONNX Runtime writes by itself.
    """
    fds = [None if stream is None else stream.fileno() for stream in (sys.stdout, sys.stderr)]
    for fd in fds:
        if fd is not None and stat.S_ISFIFO(os.fstat(fd).st_mode):  # None: closed before the process began
            os.set_blocking(fd, False)
    return Stdout(fds[0])
