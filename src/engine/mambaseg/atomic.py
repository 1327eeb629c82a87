"""Files that are either replaced whole or not touched at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mambaseg.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path to write to; it becomes `path` only if the block ends without an error.

    The temporary file lies hidden in the same folder (only there is a rename atomic) and ends in the suffixes of
    `path`. A reader sees the old file or the new one, also after a power cut. If the block raises, whatever it
    raises, the temporary file is removed and `path` is as before.

    Parameters
    ----------
    path : path-like
        The file to write or replace. A symbolic link is followed, not replaced.

    Yields
    ------
    Path
        An empty file of the block's own; verify it inside the block, before it takes the place of the old one.

    Raises
    ------
    FileError
        If the folder or the disk refuses, or the disk is full.

    Examples
    --------
    >>> with replacing("metrics.json") as temporary:
    ...     temporary.write_text(text)
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".mambaseg-{secrets.token_hex(6)}{''.join(target.suffixes[-2:])}")
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        if target.exists():
            shutil.copymode(target, temporary)
        _reach_the_disk(temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise FileError(why_not_written(path, error)) from error
    finally:
        # Gone already after a replace; after anything else, Ctrl-C too, nothing half-written may stay.
        with suppress(OSError):
            temporary.unlink()
    _remember_the_name(target.parent)


def why_not_written(path: str | os.PathLike[str], error: OSError) -> str:
    """Say in one line why `path` could not be written, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"{in_one_line(path)} could not be written: no space left on its disk or in your quota, {_free(path)}; "
            "remove files there or choose another folder"
        )
    reason = in_one_line(error.strerror or error)
    return f"{in_one_line(path)} could not be written ({reason}); choose a folder that exists and that you may write to"


def in_one_line(text: object) -> str:
    """Return the text without line breaks: an error message takes one line whatever a file is called."""
    return " ".join(str(text).split("\n")).replace("\r", " ")


def _free(path: str | os.PathLike[str]) -> str:
    try:
        return f"free {shutil.disk_usage(Path(path).parent).free // 1_000_000} MB"
    except OSError:
        return "free space unknown"


def _reach_the_disk(file: Path) -> None:
    with open(file, "rb+") as stream:
        os.fsync(stream.fileno())


def _remember_the_name(folder: Path) -> None:
    """Flush the folder's entry; the file itself is in place by now, so a refusal must not fail the write."""
    with suppress(OSError):  # Windows opens no folders, and some network disks flush none
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
