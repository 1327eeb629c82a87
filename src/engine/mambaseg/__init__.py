"""The engine of napari-mambaseg: MRI volumes in, label maps out. No Qt, no napari.

`import mambaseg` loads neither torch nor MONAI: each public name is loaded at its first use (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mambaseg.combine import combine
    from mambaseg.errors import MambaSegError
    from mambaseg.evaluate import evaluate
    from mambaseg.files import read, read_labels, write
    from mambaseg.jobs import Job, Progress
    from mambaseg.registry import load_model
    from mambaseg.segment import segment
    from mambaseg.synthetic import synthetic_brain
    from mambaseg.train import train
    from mambaseg.volume import Label, LabelMap, Volume

__version__ = "0.1.0"

_HOME = {
    "Job": "jobs",
    "Label": "volume",
    "LabelMap": "volume",
    "MambaSegError": "errors",
    "Progress": "jobs",
    "Volume": "volume",
    "combine": "combine",
    "evaluate": "evaluate",
    "load_model": "registry",
    "read": "files",
    "read_labels": "files",
    "segment": "segment",
    "synthetic_brain": "synthetic",
    "train": "train",
    "write": "files",
}
__all__ = [
    "Job",
    "Label",
    "LabelMap",
    "MambaSegError",
    "Progress",
    "Volume",
    "combine",
    "evaluate",
    "load_model",
    "read",
    "read_labels",
    "segment",
    "synthetic_brain",
    "train",
    "write",
]


def __getattr__(name: str) -> object:
    """Load a public name at its first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'mambaseg' has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = getattr(import_module(f"mambaseg.{_HOME[name]}"), name)
    globals()[name] = value
    return value
