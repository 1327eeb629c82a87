"""What the header of a volume file says about the array behind it, and reading that array whole."""

from __future__ import annotations

import gzip
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Num

from mambaseg.errors import VolumeError

if TYPE_CHECKING:
    from io import BufferedIOBase
    from pathlib import Path

    from mambaseg.volume import StoredSpace

CHUNK = 1 << 24
# Deflate cannot pack tighter, so a header that promises more than this is wrong, however small the file.
MOST_COMPRESSED = 1040


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the voxels are, what they are, and where they lie in the world."""

    shape: tuple[int, ...]
    """As in the file: (i, j, k) or (i, j, k, channel)."""
    dtype: np.dtype
    skip: int
    """Bytes between the header and the first voxel."""
    affine: Float[np.ndarray, "4 4"]
    """In mm."""
    slope: float = 1.0
    inter: float = 0.0
    stored: StoredSpace | None = None
    warnings: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Size of the array in the file."""
        return math.prod(self.shape) * self.dtype.itemsize


def check_array(shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Refuse arrays that are no volume of integers or real numbers."""
    if len(shape) not in (3, 4):
        raise VolumeError(
            f"the array has {len(shape)} dimensions, {shape}; give a volume (i, j, k) or several channels "
            "(i, j, k, channel)"
        )
    if min(shape) < 1:
        raise VolumeError(f"the array {shape} has an axis without voxels; give a volume with at least one along each")
    if dtype.kind not in "iuf":
        kind = {"c": "complex numbers", "V": "colours (RGB)"}.get(dtype.kind, f"values of type {dtype}")
        raise VolumeError(f"the voxels are {kind}; give integers or real numbers, for example the magnitude image")


def open_volume(path: Path, compressed: bool) -> BufferedIOBase:
    """Open a file for reading, unpacking it on the way if it is compressed."""
    return gzip.open(path, "rb") if compressed else open(path, "rb")


def read_exactly(stream: BufferedIOBase, count: int) -> bytearray:
    """Read `count` bytes or raise EOFError; in pieces, because gzip would hold a second copy of a large read."""
    buffer = bytearray(count)
    view = memoryview(buffer)
    done = 0
    while done < count:
        piece = stream.read(min(CHUNK, count - done))
        if not piece:
            raise EOFError(f"{count} bytes were expected and {done} found")
        view[done : done + len(piece)] = piece
        done += len(piece)
    return buffer


def read_voxels(stream: BufferedIOBase, layout: Layout, path: Path, compressed: bool) -> Num[np.ndarray, "..."]:
    """Read the array: unscaled integers as they are, all else as float32, in the byte order of this machine.

    A compressed file is read to its end, because only there is its checksum.
    """
    limit = os.path.getsize(path) * (MOST_COMPRESSED if compressed else 1)
    if stream.tell() + layout.skip + layout.bytes > limit:
        raise EOFError(f"{layout.bytes} bytes of voxels were expected")
    read_exactly(stream, layout.skip)
    raw = np.frombuffer(read_exactly(stream, layout.bytes), layout.dtype).reshape(layout.shape, order="F")
    while compressed and stream.read(CHUNK):
        pass
    if layout.slope != 1 or layout.inter != 0:
        return _scaled(raw, layout.slope, layout.inter)
    with np.errstate(over="ignore", invalid="ignore"):  # values beyond float32 become inf, which `prepare` reports
        return raw.astype(np.float32 if raw.dtype.kind == "f" else raw.dtype.newbyteorder("="), copy=False)


def _scaled(raw: np.ndarray, slope: float, inter: float) -> Float[np.ndarray, "..."]:
    """Apply slope and intercept in float64, slab by slab: the whole in float64 would double the peak of memory."""
    scaled = np.empty(raw.shape, np.float32, order="F")
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(raw.shape[-1]):
            scaled[..., k] = raw[..., k].astype(np.float64) * slope + inter
    return scaled
