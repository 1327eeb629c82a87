"""Several files that come into being together or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mambaseg.atomic import replacing, why_not_written
from mambaseg.errors import FileError, MambaSegError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def together(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder; what the block puts into it goes to `folder` only if the block ends without an error.

    A full disk or a value that no format takes shows while the files are in hiding. Should a file then not get its
    name, the older files are put back and the new ones removed.

    Parameters
    ----------
    folder : Path
        Where the files go. Files of the same names are replaced; a symbolic link is followed, not replaced.

    Raises
    ------
    FileError
        If the folder or the disk refuses.
    """
    try:
        hidden = Path(tempfile.mkdtemp(prefix=".mambaseg-", dir=folder))
    except OSError as error:
        raise FileError(why_not_written(folder, error)) from error
    try:
        yield hidden
        _move({file: Path(os.path.realpath(folder / file.name)) for file in sorted(hidden.iterdir())}, hidden)
    except MambaSegError as error:
        # The user knows nothing of the hidden folder.
        raise type(error)(str(error).replace(str(hidden), str(folder))) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _move(places: dict[Path, Path], hidden: Path) -> None:
    """Give files their places, all of them or none."""
    older = {target: hidden / f"older-{number}" for number, target in enumerate(places.values()) if target.exists()}
    done: list[Path] = []
    target = hidden
    try:
        for target, copy in older.items():
            _keep(target, copy)
        for file, target in places.items():
            if target in older:
                shutil.copymode(target, file)
            _replace(target, file)
            done.append(target)
    except BaseException as error:
        for moved in done:
            with suppress(OSError, FileError):
                _replace(moved, older[moved]) if moved in older else moved.unlink()
        if isinstance(error, OSError):
            raise FileError(why_not_written(target, error)) from error
        raise


def _replace(target: Path, file: Path) -> None:
    try:
        os.replace(file, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # A link led to another disk.
        with replacing(target) as temporary:
            shutil.copyfile(file, temporary)


def _keep(file: Path, copy: Path) -> None:
    try:
        os.link(file, copy)
    except OSError:  # not every file system has hard links
        shutil.copy2(file, copy)
