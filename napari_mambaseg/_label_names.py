"""Names and colours of labels, in a labels layer and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from mambaseg.volume import Label

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Labels that the user adds have no colour of their own; they must be seen all the same.
_UNNAMED_COLOR = "#b0b0b0"


def shown_names(labels: Mapping[int, Label]) -> dict[str, Any]:
    """Return the features and the colormap by which a labels layer shows names and colours."""
    return {
        "features": {"index": [0, *labels], "name": ["background", *(each.name for each in labels.values())]},
        "colormap": {
            None: _UNNAMED_COLOR,
            0: "transparent",
            **{value: label.color for value, label in labels.items()},
        },
    }


def remembered_names(labels: Mapping[int, Label]) -> dict[int, dict[str, str]]:
    """Return names and colours in plain values, for a layer's metadata."""
    return {value: asdict(label) for value, label in labels.items()}


def names_of(meta: Mapping[str, Any], remembered: Mapping[Any, Mapping[str, str]]) -> dict[int, Label]:
    """Return the labels of a layer by value.

    Features with the columns index and name have the first word: the user can edit them, and scripts and other
    readers set them. Without them, what the layer remembers counts.

    Parameters
    ----------
    meta
        What napari gives to writers.
    remembered
        As `remembered_names` makes it.
    """
    known = {int(value): Label(**label) for value, label in remembered.items()}
    features = meta.get("features")
    if features is None or "index" not in features or "name" not in features:
        return known
    colors = meta.get("colormap")
    return {
        value: Label(name, _color(colors, value, known.get(value)))
        for value, name in _rows(features["index"], features["name"])
    }


def _rows(values: Any, names: Any) -> Iterator[tuple[int, str]]:
    """Leave out the background and rows that name nothing."""
    for value, name in zip(values, names, strict=True):
        try:
            index = int(value)
        except (TypeError, ValueError):
            continue
        if index > 0 and index == value and isinstance(name, str) and name.strip():
            yield index, name


def _color(colors: Any, value: int, known: Label | None) -> str:
    """Return the colour of a label in a colormap of napari's, else the one it is known by."""
    of_value = colors.color_dict.get if hasattr(colors, "color_dict") else getattr(colors, "map", None)
    shown = of_value(value) if of_value else None
    # napari makes the others transparent while it shows only the selected label.
    if shown is None or not np.ravel(shown)[3]:
        return known.color if known else _UNNAMED_COLOR
    red, green, blue = (np.ravel(shown)[:3] * 255).round().astype(int).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"
