"""Segment, correct and fine-tune MRI volumes in napari with a small Mamba network."""

from napari_mambaseg._layers import show

__all__ = ["show"]
