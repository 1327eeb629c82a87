"""Segment, correct and fine-tune MRI volumes in napari with a small Mamba network.

`import napari_mambaseg` loads next to nothing: each public name comes at its first use (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_mambaseg._layers import show
    from napari_mambaseg._scripting import segment_layers

_HOME = {"segment_layers": "_scripting", "show": "_layers"}
__all__ = ["segment_layers", "show"]


def __getattr__(name: str) -> object:
    """Load a public name at its first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'napari_mambaseg' has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = getattr(import_module(f"napari_mambaseg.{_HOME[name]}"), name)
    globals()[name] = value
    return value
