"""Where napari puts a layer, in mm, from the plain values that it gives to writers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEY = "mambaseg"
"""Under which a layer's metadata keeps what our reader knows."""
# Beyond this angle, in degrees, a volume that is shown straight is not where it seems to be.
STRAIGHT_DEGREES = 0.5
SIDES_ASSUMED = "left and right are assumed: it was not opened by this plugin"
"""Other readers turn the axes as they like, and a layer does not tell how."""
_MILLIMETRE = ("mm", "millimeter")


def transform_of(meta: Mapping[str, Any]) -> Float[np.ndarray, "4 4"]:
    """Compose all that napari does to place a layer of three axes, in mm."""
    from napari.utils.transforms import Affine  # Only here: readers must not pay for it.

    given = {key: meta[key] for key in ("scale", "translate", "rotate", "shear") if meta.get(key) is not None}
    placed = Affine(**given, ndim=3).affine_matrix
    around = meta.get("affine")
    if around is not None:
        placed = np.asarray(getattr(around, "affine_matrix", around)) @ placed
    return np.asarray(np.diag([*lengths_in_mm(meta.get("units")), 1.0]) @ placed, np.float64)


def place_warning(meta: Mapping[str, Any]) -> str | None:
    """Return what a person should know about the place of a layer, None if all is known.

    Parameters
    ----------
    meta
        What napari gives to writers, or keeps in `layer.as_layer_data_tuple()[1]`.

    Returns
    -------
    str or None
        A sentence without full stop, for the line beside the layer's name. What the reader said about the header of
        the file comes first.
    """
    remembered = (meta.get("metadata") or {}).get(KEY)
    said = [warning.rstrip(".") for warning in (remembered or {}).get("warnings") or ()]
    unknown = next((unit for unit in _each(meta.get("units")) if _in_mm(unit) is None), None)
    if unknown is not None:
        said.append(f"its size in mm is not known: 1 {_named(unknown)} is taken as 1 mm")
    if tilt_of(transform_of(meta)) > STRAIGHT_DEGREES:
        said.append("it is turned or sheared: napari shows its slices straight, but it is used where it truly lies")
    if remembered is None:
        said.append(SIDES_ASSUMED)
    return "; ".join(said) or None


def lengths_in_mm(units: Any, axes: int = 3) -> tuple[float, ...]:
    """Return the length of each axis's unit; a pixel, napari's default, and all that is no length count as one mm."""
    return tuple(_in_mm(unit) or 1.0 for unit in _each(units, axes))


def tilt_of(affine: Float[np.ndarray, "4 4"]) -> float:
    """Return the largest angle, in degrees, between an axis of the voxels and the world axis of the same number."""
    steps = affine[:3, :3]
    along = np.abs(np.diag(steps)) / np.linalg.norm(steps, axis=0)
    return float(np.degrees(np.arccos(np.clip(along, 0, 1))).max())


def _each(units: Any, axes: int = 3) -> Sequence[Any]:
    return units if isinstance(units, (tuple, list)) else (units,) * axes


def _named(unit: Any) -> str:
    return str(unit) if unit is not None and str(unit) not in ("", "dimensionless") else "pixel"


def _in_mm(unit: Any) -> float | None:
    """Return the length of a unit of napari's, a word or pint's, None if it is no length."""
    if str(unit) in _MILLIMETRE:
        return 1.0
    if unit is None or not str(unit):
        return None
    import pint  # Only here, and only for units that are no millimetres: napari brings it.

    try:
        return float(pint.Quantity(1.0, str(unit)).to("mm").magnitude)
    except (pint.PintError, TypeError, ValueError):
        return None
