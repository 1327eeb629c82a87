"""Volume files to Volume and LabelMap and back: NIfTI-1, NIfTI-2 and FreeSurfer's MGH, MGZ.

Voxels stay in the axes of the file: nothing is reoriented, so what is written lies on what was read.
"""

from __future__ import annotations

import gzip
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Num

from mambaseg import mgh, nifti
from mambaseg.atomic import in_one_line, replacing, why_not_written
from mambaseg.errors import FileError, VolumeError
from mambaseg.extensions import COMPRESSED, WRITABLE, either, extension_of, stem_of
from mambaseg.reading import parse
from mambaseg.volume import LabelMap, Volume, corners_apart_mm

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import BufferedIOBase

# Level 1 packs masks nearly as tight as 9, in a fraction of the time.
_LEVEL = 1


def read(path: str | os.PathLike[str], channels: Sequence[str] | None = None) -> Volume:
    """Read a volume; the last axis of a 4-D file becomes channels.

    Parameters
    ----------
    path : path-like
        A .nii, .nii.gz, .hdr or .img (with the other one beside it), .mgz or .mgh file.
    channels : sequence of str, optional
        One name per channel. By default the name of the file without its extension, with _0, _1, … for several.

    Returns
    -------
    Volume
        Integers without scaling keep their type, all else is float32. NaN and inf are not looked for here.

    Raises
    ------
    FileError
        If there is no such file, or it is damaged, truncated or of another kind.
    VolumeError
        If what it holds is no volume of numbers, its geometry is unusable, or `channels` do not fit.
    """
    path = Path(path)
    layout, voxels = parse(path)
    data = voxels[None] if voxels.ndim == 3 else np.moveaxis(voxels, -1, 0)
    stem = stem_of(path)
    names = (stem,) if len(data) == 1 else tuple(f"{stem}_{n}" for n in range(len(data)))
    try:
        return Volume(
            data,
            layout.affine,
            names if channels is None else tuple(channels),
            stored=layout.stored,
            warnings=layout.warnings,
        )
    except VolumeError as error:
        raise VolumeError(f"{in_one_line(path)}: {in_one_line(error)}") from None


def read_labels(path: str | os.PathLike[str]) -> LabelMap:
    """Read a mask: whole numbers from 0 up, in whatever type the file stores them.

    Raises
    ------
    FileError
        As in `read`.
    VolumeError
        As in `read`, and if there are several channels, fractions or negative values.
    """
    volume = read(path)
    name = in_one_line(path)
    if len(volume.data) > 1:
        raise VolumeError(f"{name} has {len(volume.data)} channels; give a mask with one integer per voxel")
    data = volume.data[0]
    if data.dtype.kind == "f" and not (np.isfinite(data).all() and (data == np.round(data)).all()):
        raise VolumeError(
            f"{name} has fractions or NaN among its values; give a mask of whole numbers (resample masks with "
            "nearest neighbours)"
        )
    low, high = int(data.min()), int(data.max())
    if low < 0 or high > np.iinfo(np.uint32).max:
        raise VolumeError(f"{name} has values from {low} to {high}; give a mask with labels from 0 to 4294967295")
    return LabelMap(data.astype(np.min_scalar_type(high)), volume.affine, stored=volume.stored)


def write(volume: Volume | LabelMap, path: str | os.PathLike[str]) -> None:
    """Write a mask or a volume, verified, and replace an existing file only when all went well.

    Parameters
    ----------
    volume : Volume or LabelMap
        Masks become the smallest type that holds them; channels of real numbers become float32, and several channels
        the last axis of a 4-D file. Sform, qform, voxel size and units are those of the file it was read from.
    path : path-like
        Ends in .nii.gz, .nii or .mgz; MGZ stores its geometry in its own form.

    Raises
    ------
    FileError
        If the extension is unknown, or the folder or the disk refuses.
    VolumeError
        If the values do not fit into the format.
    """
    path = Path(path)
    extension = extension_of(path, WRITABLE)
    data = volume.data[None] if isinstance(volume, LabelMap) else volume.data
    dtype = _file_type(volume, extension)
    with replacing(path) as temporary:
        with open(temporary, "wb") as raw:
            if extension in COMPRESSED:
                # Neither name nor time of day: the same mask gives the same bytes.
                with gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as stream:
                    _encode(stream, volume, data, dtype, extension)
            else:
                _encode(raw, volume, data, dtype, extension)
        _verify(temporary, path, volume, data, dtype)


def check_writable_target(
    path: str | os.PathLike[str],
    inputs: Sequence[str | os.PathLike[str]] = (),
    extensions: Sequence[str] = WRITABLE,
) -> None:
    """Refuse an output that could not be written after all the work, or that would overwrite an input.

    Parameters
    ----------
    path : path-like
        The file to be written later.
    inputs : sequence of path-like
        Files that must not be overwritten, under any of their names (links are followed).
    extensions : sequence of str
        The endings allowed.

    Raises
    ------
    FileError
        With the reason, in one line.
    """
    path, name = Path(path), in_one_line(path)
    if path.is_dir():
        raise FileError(f"{name} is a folder; give the name of a file in it, ending in {either(extensions)}")
    extension_of(path, extensions)
    folder = path.parent
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "does not exist"
        raise FileError(f"the folder {in_one_line(folder)} of {name} {state}; make it, or choose another folder")
    for given in inputs:
        if path.exists() and os.path.exists(given) and os.path.samefile(path, given):
            raise FileError(f"{name} is also an input ({in_one_line(given)}); give the output another name")
    if path.exists() and not os.access(path, os.W_OK):
        raise FileError(f"{name} exists and is write-protected; choose another name or allow writing to it")
    try:
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(os.path.realpath(path)), prefix=".mambaseg-") as trial:
            trial.write(b"\0")
    except OSError as error:
        raise FileError(why_not_written(path, error)) from error


def _file_type(volume: Volume | LabelMap, extension: str) -> np.dtype:
    """Return the type that the voxels get in the file."""
    data = volume.data
    if data.size == 0 or data.dtype.kind not in "iuf":
        raise VolumeError(f"an array {data.shape} of {data.dtype} is no volume; give integers or real numbers")
    if isinstance(volume, Volume) and data.dtype.kind == "f":
        return np.dtype("f4")
    if extension == ".mgz":
        return mgh.integer_type(data)
    if isinstance(volume, Volume):
        return data.dtype.newbyteorder("<")
    low, high = data.min(), data.max()
    if data.dtype.kind == "f" or low < 0 or high > np.iinfo(np.uint16).max:
        raise VolumeError(f"the mask has {data.dtype} values from {low} to {high}; masks take integers from 0 to 65535")
    return np.min_scalar_type(int(high)).newbyteorder("<")


def _encode(
    stream: BufferedIOBase,
    volume: Volume | LabelMap,
    data: Num[np.ndarray, "channel i j k"],
    dtype: np.dtype,
    extension: str,
) -> None:
    if extension == ".mgz":
        stream.write(mgh.encoded(data.astype(dtype), volume.affine))
        return
    shape = volume.shape if len(data) == 1 else (*volume.shape, len(data))
    stream.write(nifti.header_bytes(shape, dtype, volume.affine, volume.stored))
    for channel in data:  # i runs fastest in the file, so the transposed array in C order; one copy at a time
        stream.write(np.ascontiguousarray(channel.T, dtype).data)


def _verify(
    written: Path, path: Path, volume: Volume | LabelMap, data: Num[np.ndarray, "channel i j k"], dtype: np.dtype
) -> None:
    """Read the file back; a mask must equal the one in memory, not only its cast."""
    back = read(written)
    expected = data if isinstance(volume, LabelMap) else data.astype(dtype, copy=False)
    same = back.data.shape == data.shape and all(
        np.array_equal(one, other, equal_nan=True) for one, other in zip(back.data, expected, strict=True)
    )
    apart = corners_apart_mm(back.affine, volume.affine, volume.shape)
    if not same or apart > nifti.tolerance_mm(volume.affine, volume.shape):
        what = "voxels" if not same else f"geometry (corners {apart:.3g} mm off)"
        raise FileError(
            f"{in_one_line(path)} was not written: the {what} read back from the disk differ; check the disk and "
            "try again"
        )
