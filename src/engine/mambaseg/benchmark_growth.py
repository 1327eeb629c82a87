"""`mambaseg benchmark growth`: what more voxels cost, in seconds and in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mambaseg.benchmark_case import devices, megabytes
from mambaseg.benchmark_machine import provenance
from mambaseg.benchmark_row import MODELS, WARM, keep_volume, measure_apart
from mambaseg.benchmark_volume import tiled_volume
from mambaseg.jobs import Progress
from mambaseg.synthetic import synthetic_brain

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from mambaseg.volume import Volume

SHAPE = (240, 240, 40)
TIMES = (1, 2, 4, 8)
LARGE = (512, 512, 400)
PROTOCOL = (
    "Each row in a fresh process. A synthetic head with slices 4 mm apart, FLAIR only, and the same mirrored on top of "
    "itself again and again: every slice shows the head, so work grows as voxels do; `times` counts the voxels of the "
    f"first. From a Volume in memory to a LabelMap in memory; warm: {WARM}. peak_bytes: the process's largest resident "
    "set, torch and all, or on a GPU the most that torch held there. Pixels of 1 mm; the volume of --large has 0.5 mm "
    "and is resampled for the network."
)


def benchmark_growth(
    device: str = "auto", large: bool = False, shape: Sequence[int] = SHAPE
) -> Generator[Progress, None, dict[str, Any]]:
    """Measure the shipped network on volumes of 1, 2, 4 and 8 times as many slices; a task.

    Parameters
    ----------
    device
        "auto" measures on the GPU, if there is one, and on the CPU.
    large
        Also measure one volume of 512 x 512 x 400 voxels, int16.
    shape
        Voxels of the smallest volume.

    Raises
    ------
    DeviceError
        If the device is not there.
    """
    before = provenance(f"mambaseg benchmark growth --device {device}{' --large' if large else ''} --json")
    places, total = devices(device), len(TIMES) + large
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "volume.npz"
        yield Progress("preparing", 0, total)
        for number, volume in enumerate(_volumes(shape, large)):
            keep_volume(volume, file)
            for where in places:
                yield Progress(f"{' x '.join(map(str, volume.shape))} on {where}", number, total)
                row = measure_apart(MODELS[0], where, file)
                rows.append({**row, "times": round(row["voxels"] / np.prod(shape).item(), 2)})
    return {
        **before,
        "protocol": PROTOCOL,
        "rows": sorted(rows, key=lambda row: places.index(row["device"]) if row["device"] in places else len(places)),
    }


def _volumes(shape: Sequence[int], large: bool) -> Iterator[Volume]:
    """Draw each volume when it is asked for: they need not lie in memory together."""
    head = synthetic_brain(seed=0, shape=shape, spacing_mm=(1, 1, 4), channels=("flair",)).volume
    for times in TIMES:
        yield tiled_volume(head, times * shape[2])
    if large:
        slab = (*LARGE[:2], SHAPE[2])
        head = synthetic_brain(seed=0, shape=slab, spacing_mm=(0.5, 0.5, 4), channels=("flair",)).volume
        yield tiled_volume(head, LARGE[2], np.int16)


def table(found: dict[str, Any]) -> str:
    """Return the rows as lines of text."""
    lines = [f"{'device':<8}{'voxels':>14}{'times':>8}{'seconds':>9}{'network':>9}{'peak MB':>9}"]
    lines += [
        f"{row['device']:<8}{row['voxels']:>14,}{row['times']:>8g}{row['seconds']:>9.3f}{row['network_seconds']:>9.3f}"
        f"{megabytes(row['peak_bytes']):>9}"
        for row in found["rows"]
    ]
    return "\n".join(lines)
