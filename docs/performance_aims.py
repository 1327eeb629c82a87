"""What docs/performance.md says of the project's aims: each beside what was measured, met or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GIB = 2**30
Aim = tuple[str, str, bool]
"""What is aimed at, what was measured, whether that is enough."""


def aims_section(read: Callable[[str], dict[str, Any]]) -> list[str]:
    """Return the table; `read` returns a result file."""
    rows = [*case_aims(read), *growth_aims(read), *scan_aims(read), *training_aims(read)]
    said = "The kernels stand beside mamba-ssm's as they were before their last changes: see the scan's own section."
    lines = ["## Aims", "", said, "", "| aim | measured | met |", "|---|---|---|"]
    return [*lines, *(f"| {aim} | {found} | {'yes' if met else '**no**'} |" for aim, found, met in rows), ""]


def case_aims(read: Callable[[str], dict[str, Any]]) -> Iterator[Aim]:
    """One patient and a cold start."""
    on_cpu, on_gpu = ({row["model"]: row for row in read(f"case_{where}.json")["rows"]} for where in ("cpu", "gpu"))
    ours, unet = on_cpu["brain-tumour"], on_cpu["unet"]
    yield "a patient on 2 CPU cores in 10 s", f"{ours['seconds']:.1f} s", ours["seconds"] <= 10
    yield "… in 2 GiB", f"{ours['peak_bytes'] / GIB:.2f} GiB", ours["peak_bytes"] <= 2 * GIB
    times = unet["seconds"] / ours["seconds"]
    yield "… 3 times as fast as the U-Net", f"{times:.1f}", times >= 3
    ours, unet = on_gpu["brain-tumour"], on_gpu["unet"]
    gpu = read("case_gpu.json")["machine"]["gpu"]
    yield f"a patient on a GPU in 0.15 s ({gpu})", f"{ours['seconds']:.3f} s", ours["seconds"] <= 0.15
    times = unet["network_seconds"] / ours["network_seconds"]
    yield "… the network alone 3 times as fast as the U-Net", f"{times:.1f}", times >= 3
    cold = read("cold_start.json")["seconds"]["all"]
    yield "256×256×30 from the shell on a CPU in 6 s", f"{cold:.1f} s", cold <= 6


def growth_aims(read: Callable[[str], dict[str, Any]]) -> Iterator[Aim]:
    """More voxels."""
    for where in ("cpu", "gpu"):
        rows = read(f"growth_{where}.json")["rows"]
        first, eight = rows[0], next(row for row in rows if row["times"] == 8)
        times, large = eight["seconds"] / first["seconds"], rows[-1]["peak_bytes"] / GIB
        yield f"8 times the voxels in 8 times the time or less, {where}", f"{times:.1f}", times <= 8
        yield f"512×512×400 in 4 GiB, {where}", f"{large:.2f} GiB", large <= 4


def scan_aims(read: Callable[[str], dict[str, Any]]) -> Iterator[Aim]:
    """The scan."""
    rows = read("scan_h100_mamba_ssm.json")["rows"]
    shapes: dict[tuple[int, int, int], dict[str, Any]] = {}
    for row in rows:
        shapes.setdefault((row["batch"], row["channels"], row["length"]), {})[row["backend"]] = row
    for name, forward, together in (("mamba1_selective", 5, 2), ("mamba_ssm", 2, 1.3)):
        long = [each for (batch, _, length), each in shapes.items() if batch == 1 and length >= 65536]
        least = min(each[name]["ms_forward"] / each["triton"]["ms_forward"] for each in long)
        yield f"forward {forward} times as fast as `{name}` at batch 1 from 65536", f"{least:.1f}", least >= forward
        least = min(each[name]["ms_forward"] / each["triton"]["ms_forward"] for each in shapes.values())
        yield f"forward faster than `{name}` everywhere", f"{least:.1f}", least > 1
        key = "ms_forward_and_backward"
        least = min(each[name][key] / each["triton"][key] for each in shapes.values())
        yield f"with backward {together} times as fast as `{name}`", f"{least:.1f}", least >= together
    for row in read("scan_h100.json")["rows"]:
        if row["length"] >= 65536:
            over = row["ms_forward"] / row["floor_ms"]
            shape = f"{row['batch']}, {row['channels']}, {row['length']}"
            yield f"within twice the floor at {shape}", f"{over:.1f}", over <= 2
    cpu = {row["backend"]: row for row in read("scan_cpu.json")["rows"] if (row["batch"], row["length"]) == (1, 4096)}
    times = cpu["mamba1_reference"]["ms_forward"] / cpu["torch"]["ms_forward"]
    yield "on a CPU 40 times as fast as Mamba-1's loop", f"{times:.0f}", times >= 40


def training_aims(read: Callable[[str], dict[str, Any]]) -> Iterator[Aim]:
    """Steps a second."""
    found = read("training_gpu.json")
    best = max(row["steps_per_second"] for row in found["rows"])
    yield f"50 training steps a second ({found['machine']['gpu']})", f"{best:.1f}", best >= 50
