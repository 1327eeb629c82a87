"""The endings of file names that decide about the format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mambaseg.atomic import in_one_line
from mambaseg.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

READABLE = (".nii.gz", ".nii", ".hdr", ".img", ".mgz", ".mgh")
WRITABLE = (".nii.gz", ".nii", ".mgz")
COMPRESSED = (".nii.gz", ".mgz")


def extension_of(path: Path, allowed: Sequence[str]) -> str:
    """Return the ending of `path`, in lower case, or raise FileError with the endings allowed."""
    for extension in allowed:
        if path.name.lower().endswith(extension):
            return extension
    raise FileError(f"{in_one_line(path)} has an unknown extension; give a name ending in {either(allowed)}")


def stem_of(path: Path) -> str:
    """Return the name of the file without folder and extension."""
    return path.name[: -len(extension_of(path, READABLE))] or path.name


def either(extensions: Sequence[str]) -> str:
    """List extensions for a message."""
    return " or ".join(filter(None, (", ".join(extensions[:-1]), extensions[-1])))
