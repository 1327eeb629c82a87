"""Volume and LabelMap: an array that never travels without its geometry.

Axes are those of the file, (i, j, k) as nibabel gives them, never transposed. An affine maps voxel
indices to RAS+ world coordinates in mm: x to the patient's right, y to anterior, z to superior.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Num, UInt

from mambaseg.errors import VolumeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class StoredSpace:
    """How a NIfTI header stores its geometry, so that a mask can be written with the very same fields.

    `affine` of a volume is in mm; these numbers are in the units of the file.
    """

    sform_code: int
    qform_code: int
    xyzt_units: int
    pixdim: tuple[float, ...]
    """All eight fields; pixdim[0] is the handedness of the qform."""
    quaternion: tuple[float, float, float]
    """quatern_b, quatern_c, quatern_d."""
    offset: tuple[float, float, float]
    """qoffset_x, qoffset_y, qoffset_z."""
    srow: tuple[float, ...]
    """srow_x, srow_y and srow_z in one, twelve numbers."""


@dataclass(frozen=True, slots=True)
class Label:
    """One class of a label map."""

    name: str
    color: str
    """As "#rrggbb"."""


@dataclass(frozen=True, eq=False)
class Volume:
    """One or more MRI channels on one grid.

    Raises
    ------
    VolumeError
        If the channel names do not match the array or the affine cannot be inverted.
    """

    data: Num[np.ndarray, "channel i j k"]
    affine: Float[np.ndarray, "4 4"]
    channels: tuple[str, ...]
    stored: StoredSpace | None = None
    """Header fields of the file; None for formats other than NIfTI and for arrays."""
    warnings: tuple[str, ...] = ()
    """What a person should know about this volume: sentences."""

    def __post_init__(self) -> None:
        """Refuse what later steps could only misread."""
        if len(self.channels) != len(self.data):
            raise VolumeError(
                f"{len(self.channels)} channel names {self.channels} were given for {len(self.data)} "
                "channels; give one name per channel"
            )
        if len(set(self.channels)) != len(self.channels):
            raise VolumeError(f"the channel names {self.channels} repeat; each channel needs its own name")
        check_affine(self.affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along i, j, k."""
        return self.data.shape[1:]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along i, j, k."""
        return spacing_of(self.affine)

    def channel(self, name: str) -> Num[np.ndarray, "i j k"]:
        """Return the array of the channel called `name`."""
        if name not in self.channels:
            raise VolumeError(f"there is no channel {name!r}; this volume has {', '.join(self.channels)}")
        channel: np.ndarray = self.data[self.channels.index(name)]
        return channel

    def renamed(self, channels: Sequence[str]) -> Volume:
        """Return the same volume with other channel names."""
        return replace(self, channels=tuple(channels))


@dataclass(frozen=True, eq=False)
class LabelMap:
    """One integer per voxel, with the meaning of each integer; 0 is background."""

    data: UInt[np.ndarray, "i j k"]
    affine: Float[np.ndarray, "4 4"]
    labels: Mapping[int, Label] = field(default_factory=lambda: MappingProxyType({}))
    """Background has no entry."""
    stored: StoredSpace | None = None

    def __post_init__(self) -> None:
        """Refuse an affine that later steps could only misread."""
        check_affine(self.affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along i, j, k."""
        return self.data.shape

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def volumes_ml(self) -> dict[str, float]:
        """Volume of each label in millilitres, by name; values without a name are called "label n"."""
        values, counts = np.unique(self.data[self.data > 0], return_counts=True)
        found = dict(zip(values.tolist(), counts.tolist(), strict=True))
        named = {n: self.labels[n].name if n in self.labels else f"label {n}" for n in {*self.labels, *found}}
        return {named[n]: found.get(n, 0) * self.voxel_ml for n in sorted(named)}


def check_affine(affine: np.ndarray) -> None:
    """Refuse an affine that is not finite, not 4x4 or maps the volume onto a plane."""
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise VolumeError(
            f"the affine {_brief(affine)} is not a 4x4 matrix of finite numbers; mend the file's header (sform, "
            "qform, pixdim)"
        )
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    if (steps == 0).any() or abs(np.linalg.det(affine[:3, :3] / steps)) < 1e-6:
        raise VolumeError(
            f"the affine {_brief(affine)} is singular: it maps the volume onto a plane; mend the file's "
            "header (sform, qform, pixdim)"
        )


def spacing_of(affine: np.ndarray) -> tuple[float, float, float]:
    """Voxel size in mm along i, j, k: the lengths of the affine's columns."""
    i, j, k = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return i, j, k


def same_grid(one: Volume | LabelMap, other: Volume | LabelMap, tolerance_mm: float = 1e-3) -> bool:
    """Whether the corners of both grids lie on one another within `tolerance_mm`."""
    if one.shape != other.shape:
        return False
    return corners_apart_mm(one.affine, other.affine, one.shape) <= tolerance_mm


def corners_apart_mm(affine: np.ndarray, other: np.ndarray, shape: Sequence[int]) -> float:
    """How far two affines put the same corner of a volume apart, along the world axis where it is most."""
    corners = np.array([[i, j, k, 1.0] for i in (0, shape[0] - 1) for j in (0, shape[1] - 1)
                        for k in (0, shape[2] - 1)])  # fmt: skip
    return float(np.abs((affine - other)[:3] @ corners.T).max())


def _brief(array: Any) -> str:
    """Write an array in one line."""
    return np.array2string(np.asarray(array), precision=3, suppress_small=True, max_line_width=10_000).replace("\n", "")
