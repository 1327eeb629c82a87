"""FreeSurfer's MGH and MGZ: header to layout, and volume to bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Num
from nibabel.freesurfer.mghformat import DATA_OFFSET, MGHHeader, MGHImage, header_dtype

from mambaseg.errors import VolumeError
from mambaseg.layout import Layout, check_array, read_exactly

if TYPE_CHECKING:
    from io import BufferedIOBase


def read_layout(stream: BufferedIOBase) -> Layout:
    """Read the header at the start of `stream`."""
    block = bytes(read_exactly(stream, DATA_OFFSET))
    header = MGHHeader(block[: header_dtype.itemsize], check=False)
    if int(header["version"]) != 1:
        raise ValueError(f"format version {int(header['version'])} instead of 1")
    shape = tuple(int(n) for n in header.get_data_shape())
    dtype = np.dtype(header.get_data_dtype())
    check_array(shape, dtype)
    with np.errstate(all="ignore"):  # NaN in the header is for Volume to refuse
        affine = np.asarray(header.get_affine(), np.float64)
    return Layout(shape, dtype, skip=0, affine=affine)


def integer_type(data: Num[np.ndarray, "..."]) -> np.dtype:
    """Return the smallest integer type that holds `data` and that FreeSurfer's own programs read."""
    low, high = int(data.min()), int(data.max())
    for name in ("u1", "i2", "i4"):
        limits = np.iinfo(name)
        if limits.min <= low and high <= limits.max:
            return np.dtype(name)
    raise VolumeError(f"the values {low} to {high} do not fit into MGZ (32 bits, signed); write .nii.gz instead")


def encoded(data: Num[np.ndarray, "channel i j k"], affine: Float[np.ndarray, "4 4"]) -> bytes:
    """Return the uncompressed file."""
    in_file_axes = data[0] if len(data) == 1 else np.moveaxis(data, 0, -1)
    return bytes(MGHImage(in_file_axes, affine).to_bytes())
