"""Put described layers into a viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel

    from napari_mambaseg._layers import LayerData


def add_described(viewer: ViewerModel, described: Sequence[LayerData]) -> list[Any]:
    """Add layers on top, as new ones; napari numbers names that repeat."""
    from napari.layers import Layer  # Only here: the widget opens before the first layer does.

    return [viewer.add_layer(Layer.create(*each)) for each in described]
