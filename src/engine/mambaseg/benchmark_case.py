"""`mambaseg benchmark case`: one patient's volume by the shipped network and by a U-Net, end to end."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mambaseg.benchmark_machine import provenance
from mambaseg.benchmark_row import MODELS, WARM, keep_volume, measure_apart
from mambaseg.benchmark_volume import case_volume
from mambaseg.device import choose_device
from mambaseg.jobs import Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

PROTOCOL = (
    f"Each row in a fresh process. From a Volume in memory to a LabelMap in memory, FLAIR only; warm: {WARM}. "
    "peak_bytes: the process's largest resident set, or on a GPU the most that torch held there. unet: the classic "
    "U-Net through the same code with the same preparation, weights from a seed, as speed does not depend on them; "
    "its mask means nothing."
)


def benchmark_case(
    device: str = "auto", data: Path | None = None, shape: Sequence[int] | None = None
) -> Generator[Progress, None, dict[str, Any]]:
    """Measure both networks on one volume; a task.

    Parameters
    ----------
    device
        "auto" measures on the GPU, if there is one, and on the CPU.
    data
        Where the volume comes from; `case_volume` says which folders will do.
    shape
        Voxels of a synthetic head instead.

    Raises
    ------
    FileError, DeviceError
        If `data` has no FLAIR volume or the device is not there.
    """
    before = provenance(f"mambaseg benchmark case --device {device}{'' if data is None else ' --data DIR'} --json")
    jobs = [(where, model) for where in devices(device) for model in MODELS]
    yield Progress("preparing", 0, len(jobs))
    volume, facts = case_volume(data, shape)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "volume.npz"
        keep_volume(volume, file)
        for number, (where, model) in enumerate(jobs):
            yield Progress(f"{model} on {where}", number, len(jobs))
            rows.append(measure_apart(model, where, file))
    return {**before, "protocol": PROTOCOL, "volume": facts, "rows": rows}


def devices(device: str) -> tuple[str, ...]:
    """Return where to measure: the device asked for, or the best one and the CPU."""
    best = choose_device(device).type
    return (best, "cpu") if device == "auto" and best != "cpu" else (best,)


def table(found: dict[str, Any]) -> str:
    """Return the rows as lines of text."""
    lines = [
        f"{'×'.join(map(str, found['volume']['shape']))}, {found['volume']['source']}",
        f"{'model':<14}{'device':<8}{'seconds':>9}{'network':>9}{'peak MB':>9}{'parameters':>12}",
    ]
    lines += [
        f"{row['model']:<14}{row['device']:<8}{row['seconds']:>9.3f}{row['network_seconds']:>9.3f}"
        f"{megabytes(row['peak_bytes']):>9}{row['parameters']:>12,}"
        for row in found["rows"]
    ]
    return "\n".join(lines)


def megabytes(count: int | None) -> str:
    """Return bytes as people read them."""
    return "unknown" if count is None else f"{count / 1e6:,.0f}"
