"""Opening and decoding volume files; whatever is wrong with one becomes an error of one line here."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Num
from nibabel.filebasedimages import ImageFileError
from nibabel.freesurfer.mghformat import MGHError
from nibabel.spatialimages import HeaderDataError, HeaderTypeError
from nibabel.wrapstruct import WrapStructError

from mambaseg import mgh, nifti
from mambaseg.atomic import in_one_line
from mambaseg.errors import FileError, VolumeError
from mambaseg.extensions import COMPRESSED, READABLE, either, extension_of
from mambaseg.layout import Layout, open_volume, read_voxels

if TYPE_CHECKING:
    from pathlib import Path

_BAD_HEADER = (
    HeaderDataError,
    HeaderTypeError,
    ImageFileError,
    MGHError,
    WrapStructError,
    ValueError,
    KeyError,
    TypeError,
    OverflowError,
)


def parse(path: Path) -> tuple[Layout, Num[np.ndarray, "..."]]:
    """Read one file (or pair) whole, its checksum included, or raise FileError or VolumeError."""
    extension = _check_readable(path)
    name = in_one_line(path)
    try:
        return _decoded(path, extension)
    except VolumeError as error:
        raise VolumeError(f"{name}: {in_one_line(error)}") from None
    except EOFError as error:
        raise FileError(
            f"{name} is truncated: it ends before the last voxel that its header announces; copy or export it again"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise FileError(
            f"{name} is damaged or not compressed with gzip ({in_one_line(error)}); copy or export it again"
        ) from error
    except MemoryError as error:
        raise FileError(f"{name} needs more memory than there is; close other programs or crop the volume") from error
    except OSError as error:
        raise FileError(
            f"{name} cannot be read ({in_one_line(error.strerror or error)}); check its permissions and the disk"
        ) from error
    except _BAD_HEADER as error:
        raise FileError(
            f"{name} has no usable {extension} header ({in_one_line(error)}); give a NIfTI or MGH file, or export "
            "it again"
        ) from error


def _decoded(path: Path, extension: str) -> tuple[Layout, Num[np.ndarray, "..."]]:
    compressed = extension in COMPRESSED
    if extension not in (".hdr", ".img"):
        with open_volume(path, compressed) as stream:
            layout = mgh.read_layout(stream) if extension.startswith(".mg") else nifti.read_layout(stream, single=True)
            return layout, read_voxels(stream, layout, path, compressed)
    header, image = (_partner(path, one) for one in (".hdr", ".img"))
    with open_volume(header, compressed) as stream:
        layout = nifti.read_layout(stream, single=False)
    with open_volume(image, compressed) as stream:
        return layout, read_voxels(stream, layout, image, compressed)


def _partner(path: Path, extension: str) -> Path:
    """Return the file of a pair that ends in `extension`, in the case that `path` is written in."""
    partner = path.with_suffix(extension.upper() if path.suffix.isupper() else extension)
    if not partner.is_file():
        raise FileError(
            f"{in_one_line(path)} is half of a pair and {in_one_line(partner.name)} is not beside it; put both into "
            "one folder"
        )
    return partner


def _check_readable(path: Path) -> str:
    """Refuse what cannot be a volume file before anything is parsed; return the extension."""
    name = in_one_line(path)
    if path.is_dir():
        raise FileError(f"{name} is a folder; folders are not read yet; give one file ending in {either(READABLE)}")
    if not path.exists():
        raise FileError(f"{name} does not exist; check the spelling and the folder")
    if not path.is_file():
        raise FileError(f"{name} is a device or a pipe; give a file ending in {either(READABLE)}")
    extension = extension_of(path, READABLE)
    try:
        with open(path, "rb") as stream:
            start = stream.read(2)
    except OSError as error:
        raise FileError(
            f"{name} cannot be read ({in_one_line(error.strerror or error)}); check its permissions and the disk"
        ) from error
    if not start:
        raise FileError(f"{name} is empty (0 bytes); copy or export it again")
    if start == b"\x1f\x8b" and extension not in COMPRESSED:
        raise FileError(
            f"{name} is compressed with gzip, but its name ends in {extension}; rename it to end in .nii.gz or .mgz"
        )
    return extension
