"""The most memory that a model takes for one volume, in a process that does nothing else.

`peak_apart` starts it: python -m mambaseg.compare_memory MODEL DEVICE VOLUME.npz
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from mambaseg.benchmark_row import kept_volume, peak_resident_bytes
from mambaseg.fresh_process import ask

if TYPE_CHECKING:
    from pathlib import Path

    from mambaseg.volume import Volume


def peak_apart(model: Path, device: str, volume: Path) -> dict[str, Any]:
    """Return `peak_bytes` and the device it was measured on, for the volume that `keep_volume` wrote.

    Raises
    ------
    MambaSegError
        If that process failed; its last line is told.
    """
    arguments = [str(model), device, str(volume)]
    return ask("mambaseg.compare_memory", arguments, f"the memory of {model.name} on {device}")


def measure_peak(model: str, device: str, volume: Volume) -> dict[str, Any]:
    """Segment once in this process and return what it held at most: its resident set, or on a GPU what torch held."""
    import torch

    from mambaseg.jobs import Job
    from mambaseg.registry import load_model
    from mambaseg.segment import segment

    checkpoint = load_model(model)
    found = Job(lambda: segment(volume, checkpoint, device)).run()
    peak = torch.cuda.max_memory_allocated() if found.device == "cuda" else peak_resident_bytes()
    return {"peak_bytes": peak, "device": found.device}


def main() -> None:
    """Measure what the arguments say and print it as JSON."""
    model, device, file = sys.argv[1:]
    sys.stdout.write(json.dumps(measure_peak(model, device, kept_volume(file))) + "\n")


if __name__ == "__main__":
    main()
