"""NIfTI-1 and NIfTI-2: header to layout, and stored geometry back to the very same header fields."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from nibabel.nifti1 import Nifti1Header, Nifti1PairHeader
from nibabel.nifti2 import Nifti2Header, Nifti2PairHeader

from mambaseg.errors import VolumeError
from mambaseg.layout import Layout, check_array, read_exactly
from mambaseg.volume import StoredSpace, corners_apart_mm

if TYPE_CHECKING:
    from io import BufferedIOBase

SHORT, LONG = Nifti1Header.sizeof_hdr, Nifti2Header.sizeof_hdr
MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}
"""By the code in xyzt_units: metre, millimetre, micron; all other codes are read as mm."""
MILLIMETRE = 2
SCANNER = 1
LARGEST_SHORT_AXIS = 32767
DISAGREE_MM = 0.1

# nibabel logs each repair of a header to standard error, where the command line promises one line only.
_silent = logging.getLogger(f"{__name__}.header")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


def read_layout(stream: BufferedIOBase, single: bool) -> Layout:
    """Read the header at the start of `stream`.

    Parameters
    ----------
    stream : binary stream
        The .nii, or the .hdr of a pair.
    single : bool
        Whether the voxels follow in the same file.
    """
    raw = _read_header(stream, single)
    header = _repaired(raw)
    shape = tuple(int(n) for n in header.get_data_shape())
    dtype = np.dtype(header.get_data_dtype())
    check_array(shape, dtype)
    if not np.isfinite(raw["pixdim"][1:4]).all():
        raise VolumeError(
            f"the voxel size (pixdim) is {raw['pixdim'][1:4].tolist()}; mend the file's header: three finite numbers"
        )
    slope, inter = header.get_slope_inter()
    at = max(header.get_data_offset(), header.single_vox_offset if single else 0)
    return Layout(
        shape,
        dtype,
        skip=at - (header.sizeof_hdr if single else 0),
        affine=affine_mm(raw),
        slope=1.0 if slope is None else slope,
        inter=0.0 if inter is None else inter,
        stored=_stored(raw),
        warnings=_doubts(raw, shape),
    )


def affine_mm(header: Any) -> Float[np.ndarray, "4 4"]:
    """Return the affine that nibabel would choose (sform, else qform, else neither), in mm."""
    with np.errstate(all="ignore"):  # NaN in the header is for Volume to refuse
        return _in_mm(np.asarray(_repaired(header).get_best_affine(), np.float64), header)


def header_bytes(
    shape: tuple[int, ...], dtype: np.dtype, affine: Float[np.ndarray, "4 4"], stored: StoredSpace | None
) -> bytes:
    """Return all of a .nii that comes before the voxels, in little-endian order and without scaling.

    `stored` is restored field by field if it describes `affine`; if the affine was changed since, or comes from
    no NIfTI file, sform and qform are written afresh.
    """
    header = _restored(shape, dtype, stored) if stored else None
    if header is None or not corners_apart_mm(affine_mm(header), affine, shape) <= tolerance_mm(affine, shape):
        header = _fresh(shape, dtype, affine)
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["vox_offset"] = header.single_vox_offset
    no_extensions = bytes(4)
    return bytes(header.binaryblock) + no_extensions


def tolerance_mm(affine: Float[np.ndarray, "4 4"], shape: tuple[int, ...]) -> float:
    """How far float32 fields may move a corner: one millionth of the largest coordinate that enters."""
    reach = np.abs(affine[:3, :3]) @ np.array(shape[:3], np.float64) + np.abs(affine[:3, 3])
    return 1e-6 * float(reach.max())


def _read_header(stream: BufferedIOBase, single: bool) -> Any:
    block = bytes(read_exactly(stream, SHORT))
    if Nifti1Header.may_contain_header(block):
        return (Nifti1Header if single else Nifti1PairHeader)(block, check=False)
    if block[4:7] not in (Nifti2Header.pair_magic, Nifti2Header.single_magic):
        raise ValueError("it does not start with a NIfTI header")
    block += read_exactly(stream, LONG - SHORT)
    return (Nifti2Header if single else Nifti2PairHeader)(block, check=False)


def _repaired(header: Any) -> Any:
    """Return a copy mended as nibabel does on loading; what cannot be mended raises HeaderDataError."""
    header = header.copy()
    header.check_fix(logger=_silent, error_level=40)
    return header


def _in_mm(affine: np.ndarray, header: Any) -> np.ndarray:
    affine = affine.copy()
    affine[:3] *= MM_PER_UNIT.get(int(header["xyzt_units"]) % 8, 1.0)
    return affine


def _doubts(header: Any, shape: tuple[int, ...]) -> tuple[str, ...]:
    """What a person should know about this geometry before trusting left and right."""
    sform, qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if not sform and not qform:
        return (
            "The header stores no orientation (sform and qform codes are 0): x is taken to run from right to left, "
            "as nibabel does; check left and right.",
        )
    if not sform and (header["pixdim"][1:4] <= 0).any():
        return (f"The header stores the voxel size {header['pixdim'][1:4].tolist()}: zero is read as 1, and signs "
                "are dropped; check distances and volumes.",)  # fmt: skip
    if not (sform and qform):
        return ()
    try:
        with np.errstate(all="ignore"):
            other = _in_mm(np.asarray(_repaired(header).get_qform(), np.float64), header)
    except ValueError:  # a quaternion longer than one
        other = np.full((4, 4), np.nan)
    apart = corners_apart_mm(affine_mm(header), other, shape)
    if apart <= DISAGREE_MM:
        return ()
    if not np.isfinite(other).all():
        return ("The qform of the header is damaged; the sform is used.",)
    return (
        f"Sform and qform of the header disagree by up to {apart:.1f} mm; the sform is used, as nibabel does. Programs "
        "that use the qform may show this volume shifted or mirrored.",
    )


def _stored(header: Any) -> StoredSpace:
    def numbers(*names: str) -> list[float]:
        return [float(x) for name in names for x in np.atleast_1d(header[name])]

    b, c, d = numbers("quatern_b", "quatern_c", "quatern_d")
    x, y, z = numbers("qoffset_x", "qoffset_y", "qoffset_z")
    return StoredSpace(
        sform_code=int(header["sform_code"]),
        qform_code=int(header["qform_code"]),
        xyzt_units=int(header["xyzt_units"]),
        pixdim=tuple(numbers("pixdim")),
        quaternion=(b, c, d),
        offset=(x, y, z),
        srow=tuple(numbers("srow_x", "srow_y", "srow_z")),
    )


def _restored(shape: tuple[int, ...], dtype: np.dtype, stored: StoredSpace) -> Any:
    numbers = np.array([*stored.pixdim, *stored.quaternion, *stored.offset, *stored.srow], np.float64)
    with np.errstate(over="ignore"):
        exact = np.array_equal(numbers.astype(np.float32).astype(np.float64), numbers, equal_nan=True)
    header = _empty(shape, dtype, long=not exact)
    header["sform_code"], header["qform_code"] = stored.sform_code, stored.qform_code
    header["xyzt_units"] = stored.xyzt_units
    header["pixdim"] = stored.pixdim
    header["quatern_b"], header["quatern_c"], header["quatern_d"] = stored.quaternion
    header["qoffset_x"], header["qoffset_y"], header["qoffset_z"] = stored.offset
    header["srow_x"], header["srow_y"], header["srow_z"] = np.reshape(stored.srow, (3, 4))
    return header


def _fresh(shape: tuple[int, ...], dtype: np.dtype, affine: np.ndarray) -> Any:
    header = _empty(shape, dtype)
    header["xyzt_units"] = MILLIMETRE
    header.set_qform(affine, SCANNER)
    header.set_sform(affine, SCANNER)
    if corners_apart_mm(np.asarray(header.get_qform()), affine, shape) > 1e-3:
        # A qform cannot hold shears. Without one, programs that insist on it refuse instead of misplacing the mask.
        header["qform_code"] = 0
    return header


def _empty(shape: tuple[int, ...], dtype: np.dtype, long: bool = False) -> Any:
    header = (Nifti2Header if long or max(shape) > LARGEST_SHORT_AXIS else Nifti1Header)(endianness="<")
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    return header
