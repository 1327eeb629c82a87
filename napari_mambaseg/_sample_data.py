"""The sample in napari's File menu."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_mambaseg._layers import image_layers

if TYPE_CHECKING:
    from napari_mambaseg._layers import LayerData


def synthetic_brain() -> list[LayerData]:
    """Draw a brain with a tumour: FLAIR, T1 and T1 post contrast of nobody, the same each time."""
    from mambaseg import synthetic  # Only here: opening the menu must not pay for SciPy.

    return image_layers(synthetic.synthetic_brain(seed=0).volume, name="Synthetic brain")
