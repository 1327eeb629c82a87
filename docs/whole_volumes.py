"""The sections of docs/performance.md on whole volumes; docs/make_performance.py puts them in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

WHERE = ("cpu", "gpu")
QUIET = 0.7
"""Of a machine that only measures, the load average is below this before it begins."""


def machine(found: dict[str, Any], gpu: bool = False) -> str:
    """Return what ran, in words; `gpu` says that one did, where no row does."""
    facts = found["machine"]
    parts = [facts["gpu"]] if gpu or any(row["device"] == "cuda" for row in found.get("rows", [])) else []
    parts += [f"{facts['cpu']}, {facts['cores']} cores, {facts['threads']} threads"]
    if (found["load_average"] or 0) > QUIET:
        parts.append(f"busy with other work too (load average {found['load_average']})")
    return f"{'; '.join(parts)}; torch {found['versions']['torch']}, {found['date'][:10]}, `{found['command']}`"


def case_section(results: dict[str, dict[str, Any]]) -> list[str]:
    """One patient's volume by both networks."""
    if not results:
        return []
    lines = ["## One patient", ""]
    for found in results.values():
        volume = found["volume"]
        lines += [
            f"{'×'.join(map(str, volume['shape']))} voxels, {volume['source']}; {machine(found)}.",
            "",
            "| model | device | seconds | of these, network | peak memory, MB | learnable parameters | times as fast |",
            "|---|---|---|---|---|---|---|",
        ]
        unet = {row["device"]: row["seconds"] for row in found["rows"] if row["model"] == "unet"}
        for row in found["rows"]:
            cells = [row["model"], row["device"], f"{row['seconds']:.3g}", f"{row['network_seconds']:.3g}"]
            cells += [megabytes(row["peak_bytes"]), f"{row['parameters']:,}"]
            cells += [f"{unet[row['device']] / row['seconds']:.1f}" if row["device"] in unet else ""]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return [*lines, next(iter(results.values()))["protocol"], ""]


def growth_section(results: dict[str, dict[str, Any]], image: Path) -> list[str]:
    """What more voxels cost, with a plot."""
    if not results:
        return []
    draw_growth(results, image)
    lines = ["## More voxels", "", f"![Seconds and memory over voxels, by device](images/{image.name})", ""]
    for found in results.values():
        lines += [
            f"{machine(found)}.",
            "",
            "| device | voxels | × | seconds | × | peak memory, MB | × |",
            "|---|---|---|---|---|---|---|",
        ]
        first = {row["device"]: row for row in reversed(found["rows"])}
        for row in found["rows"]:
            base = first[row["device"]]
            cells = [row["device"], " × ".join(map(str, row["shape"])), f"{row['times']:g}", f"{row['seconds']:.3g}"]
            cells += [f"{row['seconds'] / base['seconds']:.1f}", megabytes(row["peak_bytes"])]
            cells += [f"{row['peak_bytes'] / base['peak_bytes']:.2f}"]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return [*lines, next(iter(results.values()))["protocol"], ""]


def draw_growth(results: dict[str, dict[str, Any]], image: Path) -> None:
    """Draw seconds and peak memory over voxels: of time the doublings, of memory what is there from the start."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    time, memory = figure.subplots(1, 2)
    for found in results.values():
        for device in dict.fromkeys(row["device"] for row in found["rows"]):
            rows = [row for row in found["rows"] if row["device"] == device and row["dtype"] == "float32"]
            name = found["machine"]["gpu"] if device == "cuda" else f"CPU, {found['machine']['threads']} threads"
            voxels = [row["voxels"] / 1e6 for row in rows]
            time.plot(voxels, [row["seconds"] for row in rows], marker="o", label=name)
            memory.plot(voxels, [row["peak_bytes"] / 1e9 for row in rows], marker="o", label=name)
    time.set(title="Time", ylabel="s", xlabel="million voxels")
    time.loglog(base=2)
    for axis in (time.xaxis, time.yaxis):
        axis.set_major_formatter("{x:.3g}")
    memory.margins(0.1)
    memory.set(title="Peak memory", ylabel="GB", xlabel="million voxels", xlim=(0, None), ylim=(0, None))
    for axes in (time, memory):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    image.parent.mkdir(exist_ok=True)
    figure.savefig(image, dpi=120, metadata={"Software": None})


def cold_section(found: dict[str, Any] | None) -> list[str]:
    """A fresh process, from the shell."""
    if found is None:
        return []
    seconds = {name: value for name, value in found["seconds"].items() if name != "all"}
    whole = found["seconds"]["all"]
    packages = [f"{name} {value:.2f} s" for name, value in found["packages"].items() if name != "all"][:4]
    return [
        "## From the shell, in a fresh process",
        "",
        f"`mambaseg segment` on {'×'.join(map(str, found['shape']))} voxels; {machine(found)}.",
        "",
        f"| all | {' | '.join(seconds)} |",
        "|" + "---|" * (len(seconds) + 1),
        f"| {whole:.2f} s | {' | '.join(f'{value:.2f} s' for value in seconds.values())} |",
        "",
        f"The dearest imports: {', '.join(packages)}. {found['protocol'][0].upper()}{found['protocol'][1:]}",
        "",
    ]


def megabytes(count: int | None) -> str:
    """Return bytes as people read them."""
    return "unknown" if count is None else f"{count / 1e6:,.0f}"
