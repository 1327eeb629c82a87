"""One row of a benchmark of whole volumes, measured in a process of its own.

A process's peak of memory is that of all it ever did; so a row shares its process with no other, nor with what made
the volume. `measure_apart` starts it: python -m mambaseg.benchmark_row MODEL DEVICE VOLUME.npz
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mambaseg.fresh_process import ask
from mambaseg.volume import Volume

if TYPE_CHECKING:
    from mambaseg.checkpoint import Checkpoint

MODELS = ("brain-tumour", "unet")
MOST_RUNS = 5
ENOUGH_SECONDS = 20.0
WARM = (
    f"one run first, then the median of up to {MOST_RUNS} more (row's `runs`), none begun after {ENOUGH_SECONDS:.0f} s"
)


def keep_volume(volume: Volume, file: Path) -> None:
    """Write a volume for the processes that measure with it."""
    np.savez(file, data=volume.data, affine=volume.affine, channels=np.array(volume.channels))


def kept_volume(file: str) -> Volume:
    """Return the volume that `keep_volume` wrote."""
    with np.load(file) as kept:
        return Volume(kept["data"], kept["affine"], tuple(map(str, kept["channels"])))


def measure_apart(model: str, device: str, file: Path) -> dict[str, Any]:
    """Return the row of a model, measured in a fresh process on the volume that `keep_volume` wrote.

    Raises
    ------
    MambaSegError
        If that process failed; its last line is told.
    """
    return ask("mambaseg.benchmark_row", [model, device, str(file)], f"{model} on {device}")


def measure(model: str, device: str, volume: Volume) -> dict[str, Any]:
    """Segment a volume again and again in this process and return the row."""
    checkpoint = _checkpoint(model)
    first = _run(volume, checkpoint, device)
    warm: list[dict[str, Any]] = []
    begun = time.perf_counter()
    while len(warm) < MOST_RUNS and (not warm or time.perf_counter() - begun < ENOUGH_SECONDS):
        warm.append(_run(volume, checkpoint, device))
    resident, allocated = peak_resident_bytes(), _peak_allocated_bytes()
    last, network = warm[-1], checkpoint.network()
    return {
        "model": model,
        "device": last["device"],
        "backend": last["backend"] if checkpoint.card.network.name != "unet" else None,
        "shape": list(volume.shape),
        "voxels": int(np.prod(volume.shape)),
        "dtype": str(volume.data.dtype),
        "seconds": _median(warm, "seconds"),
        "prepare_seconds": _median(warm, "prepare"),
        "network_seconds": _median(warm, "network"),
        "first_seconds": round(first["seconds"], 4),
        "runs": len(warm),
        "seconds_of_runs": [round(run["seconds"], 4) for run in warm],
        "peak_bytes": allocated if last["device"] == "cuda" else resident,
        "peak_resident_bytes": resident,
        "parameters": sum(p.numel() for p in network.parameters()),
        "numbers_in_all_tensors": checkpoint.card.parameters,
        "threads": last["threads"],
        "warnings": last["warnings"],
    }


def peak_resident_bytes() -> int | None:
    """Return the most memory that this process has held; None where the system does not say (Windows)."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    # Only where VmHWM is missing: on Linux this one begins with the peak of the process that started this one.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _peak_allocated_bytes() -> int | None:
    """Return the most memory that torch has held on a CUDA GPU; None without one."""
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def _run(volume: Volume, checkpoint: Checkpoint, device: str) -> dict[str, Any]:
    """Segment once; the result's arrays are let go, as a caller would before the next volume."""
    from mambaseg.jobs import Job
    from mambaseg.segment import segment

    begun = time.perf_counter()
    found = Job(lambda: segment(volume, checkpoint, device)).run()
    seconds = time.perf_counter() - begun
    facts = {"device": found.device, "backend": found.backend, "threads": found.threads}
    return {"seconds": seconds, **found.seconds, **facts, "warnings": list(found.warnings)}


def _checkpoint(model: str) -> Checkpoint:
    """Return the shipped model, or a U-Net in its place with weights from a seed."""
    from mambaseg.registry import load_model

    shipped = load_model("brain-tumour")
    if model != "unet":
        return shipped
    import torch

    from mambaseg.checkpoint import make_checkpoint
    from mambaseg.config import UNetConfig
    from mambaseg.network import build

    torch.manual_seed(0)
    settings = UNetConfig(channels=len(shipped.card.channels), labels=len(shipped.card.labels))
    changed = {"name": "unet", "network": settings, "metrics": {}, "training": {}, "training_data": "none"}
    return make_checkpoint(shipped.card.model_copy(update=changed), build(settings))


def _median(runs: list[dict[str, Any]], key: str) -> float:
    return round(float(statistics.median(run[key] for run in runs)), 4)


def main() -> None:
    """Measure what the arguments say and print the row as JSON."""
    model, device, file = sys.argv[1:]
    print(json.dumps(measure(model, device, kept_volume(file))))


if __name__ == "__main__":
    main()
