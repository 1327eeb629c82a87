"""Write docs/performance.md from benchmarks/results: python docs/make_performance.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from performance_aims import aims_section
from whole_volumes import WHERE, case_section, cold_section, growth_section, machine

HERE = Path(__file__).parent
RESULTS = HERE.parent / "benchmarks" / "results"


def read(name: str) -> dict[str, Any]:
    """Return one result file."""
    found: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return found


def those_there(*names: str) -> dict[str, dict[str, Any]]:
    """Return the result files that exist, by name; a section without any is left out."""
    return {name: read(name) for name in names if (RESULTS / name).is_file()}


def scan_section() -> list[str]:
    """The scan's kernels beside mamba-ssm's, on a GPU."""
    ours, beside = read("scan_h100.json"), read("scan_h100_mamba_ssm.json")
    theirs = {(*shape_of(row), row["backend"]): row for row in beside["rows"]}
    lines = [
        "## The scan",
        "",
        f"{ours['machine']['gpu']}, torch {ours['versions']['torch']}, {ours['date']}, bfloat16, 16 states, one way. "
        f"{ours['protocol']}",
        "",
        f"The columns of mamba-ssm are from one run beside `triton` as it was at commit {beside['commit']} (before); "
        f"`triton` is as of commit {ours['commit']}, in another run on another card of the same type. Forward, and "
        "forward with backward, in ms; over: forward over the floor (aim: 2 at lengths from 65536).",
        "",
        "| batch, channels, length | head | floor | triton | over | before | `mamba_chunk_scan_combined` | "
        "`selective_scan_fn` |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in ours["rows"]:
        shape = shape_of(row)
        cells = [", ".join(map(str, shape)), str(row["headdim"]), f"{row['floor_ms']:.4f}", both(row)]
        cells += [f"{row['ms_forward'] / row['floor_ms']:.1f}"]
        cells += [both(theirs.get((*shape, name))) for name in ("triton", "mamba_ssm", "mamba1_selective")]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def shape_of(row: dict[str, Any]) -> tuple[int, int, int]:
    """Return batch, channels, length."""
    return row["batch"], row["channels"], row["length"]


def both(row: dict[str, Any] | None) -> str:
    """Return forward, and forward with backward; nothing if it was not measured."""
    return f"{row['ms_forward']:.4f}, {row['ms_forward_and_backward']:.3f}" if row else "not measured"


def scan_cpu_section() -> list[str]:
    """The scan on a CPU beside Mamba-1's loop."""
    found = read("scan_cpu.json")
    lines = [
        "## The scan on a CPU",
        "",
        f"{machine(found)}; float32. Medians in ms. `mamba1_reference` is Mamba-1's published recurrence, step by "
        "step; the aim is 40 times.",
        "",
        "| batch, channels, length | ways | torch: forward | and backward | mamba1_reference: forward | times |",
        "|---|---|---|---|---|---|",
    ]
    loops = {(*shape_of(row), row["ways"]): row for row in found["rows"] if row["backend"] == "mamba1_reference"}
    for row in (row for row in found["rows"] if row["backend"] == "torch"):
        loop = loops.get((*shape_of(row), row["ways"]))
        cells = [", ".join(map(str, shape_of(row))), str(row["ways"]), f"{row['ms_forward']:.2f}"]
        cells += [f"{row['ms_forward_and_backward']:.2f}"]
        cells += [f"{loop['ms_forward']:.1f}", f"{loop['ms_forward'] / row['ms_forward']:.0f}"] if loop else ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def same_mask_section() -> list[str]:
    """A GPU's mask beside the CPU's, with little and no memory too."""
    lines = ["## The same mask on a GPU", ""]
    for found in those_there("gpu_segment.json").values():
        lines += [
            f"{machine(found, gpu=True)}. With probabilities; `little`: a third of the memory that a run takes.",
            "",
            "| volume | run | on | equal voxels | largest difference of a probability | said |",
            "|---|---|---|---|---|---|",
        ]
        for name, head in found["heads"].items():
            for run, row in head["runs"].items():
                cells = [f"{name}, {'×'.join(map(str, head['shape']))}", run.replace("_", " "), row["device"]]
                cells += [f"{row['equal_share']:.6f}", str(row["largest_difference_of_probability"])]
                cells += ["; ".join(warning for warning in row["warnings"] if "GPU" in warning)]
                lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def training_section() -> list[str]:
    """Steps a second before and after."""
    results = those_there("training_gpu_before.json", "training_gpu.json")
    if not results:
        return []
    lines = [
        "## Training",
        "",
        "The shipped network, batches of 32 slices of 256×256 with 9 channels, drawn and augmented on the GPU "
        "(`benchmarks/training_speed.py`); the aim is 50 steps a second. Busy: what the kernels of a step take, of its "
        "time.",
        "",
        "| GPU | commit | launched | steps a second | a step, ms | GPU busy | augmentation, ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for found in results.values():
        for row in found["rows"]:
            cells = [found["machine"]["gpu"], str(found["commit"]), row["launched"], f"{row['steps_per_second']:.1f}"]
            cells += [f"{row['step_ms']:.1f}", f"{row['gpu_busy_share']:.0%}", f"{row['augmentation_ms']:.1f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def paint_section() -> list[str]:
    """The window."""
    found = read("paint_cpu.json")
    keys = ("tick_ms_median", "tick_ms_max", "longest_own_ms", "stroke_ms_median", "child_start_s", "open_s")
    return [
        "## The window while it segments",
        "",
        f"240×240×155, two CPU cores, software OpenGL, {found['date'][:10]}, `{found['command']}`.",
        "",
        "| " + " | ".join(keys) + " |",
        "|" + "---|" * len(keys),
        "| " + " | ".join(str(found[key]) for key in keys) + " |",
        "",
    ]


def main() -> None:
    """Write the page."""
    made = "Made by `docs/make_performance.py` from `benchmarks/results`; no figure is typed in."
    head = ["# Performance", "", made, ""]
    case, growth = (those_there(*(f"{kind}_{where}.json" for where in WHERE)) for kind in ("case", "growth"))
    cold = those_there("cold_start.json").get("cold_start.json")
    whole = [*case_section(case), *growth_section(growth, HERE / "images" / "growth.png"), *cold_section(cold)]
    scans = [*scan_section(), *scan_cpu_section()]
    rest = [*same_mask_section(), *training_section(), *paint_section()]
    text = "\n".join([*head, *aims_section(read), *whole, *scans, *rest])
    (HERE / "performance.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
