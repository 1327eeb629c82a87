"""Plots of a comparison, as PNG. The only ones who load matplotlib are this file and `compare_worst`."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from mambaseg.atomic import replacing
from mambaseg.compare_scores import scores_of
from mambaseg.compare_worst import draw_worst
from mambaseg.training_run import LOG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mambaseg.compare_contenders import Contender
    from mambaseg.data_set import Case

COLORS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#000000")
"""Okabe and Ito's palette without its yellow, which white paper swallows."""
MARKERS = "osD^vP*X"
_WIDE = 22


def draw_plots(result: Mapping[str, Any], contenders: Sequence[Contender], cases: Sequence[Case], out: Path) -> None:
    """Draw what there is to draw into `out`; learning curves only where a model has its log beside it."""
    _save(per_patient(result), out / "dice_per_patient.png")
    _save(against_parameters(result), out / "dice_parameters.png")
    logs = [read_log(one.folder / LOG) if (one.folder / LOG).is_file() else [] for one in contenders]
    if any(logs):
        _save(learning_curves([one.name for one in contenders], logs), out / "learning_curves.png")
    _save(draw_worst(result, contenders, cases, out / "masks"), out / "worst_cases.png")


def per_patient(result: Mapping[str, Any]) -> Figure:
    """Draw the Dice of each patient, one column for each model, a line for each patient."""
    names = [model["name"] for model in result["models"]]
    label = result["data_set"]["labels"][0]
    dice = scores_of(result["cases"], names, label, "dice")
    figure = Figure(figsize=(2.2 + 1.5 * len(names), 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(len(names)), dice, color="0.75", linewidth=0.8, zorder=1)
    for column, (model, scores) in enumerate(zip(result["models"], dice, strict=True)):
        axes.scatter([column] * len(scores), scores, s=22, alpha=0.8, zorder=2, **_look(column))
        mean = model["scores"][label]["dice"]
        off = column + 0.16
        axes.plot([off, off], [mean["low"], mean["high"]], color="black", linewidth=1.5, zorder=3)
        axes.plot(off, mean["mean"], marker="_", markersize=11, color="black", zorder=3)
    axes.set_xticks(range(len(names)), [_folded(name) for name in names])
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(-0.03, 1.03), ylabel=f"Dice, {label}")
    axes.set_title(f"{_where(result)}\nblack: mean and 95 % interval", fontsize=9)
    _grid(axes, "y")
    return figure


def against_parameters(result: Mapping[str, Any]) -> Figure:
    """Draw mean Dice and its interval over the number of parameters."""
    label = result["data_set"]["labels"][0]
    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.subplots()
    for number, model in enumerate(result["models"]):
        mean = model["scores"][label]["dice"]
        ends = [[mean["mean"] - mean["low"]], [mean["high"] - mean["mean"]]]
        look = _look(number)
        axes.errorbar(
            [model["parameters"]],
            [mean["mean"]],
            yerr=ends,
            linestyle="none",
            marker=look["marker"],
            color=look["color"],
            capsize=3,
            label=f"{model['name']}: {model['parameters']:,}",
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())
    counts = [model["parameters"] for model in result["models"]]
    axes.set_xlim(min(counts) / 3, max(counts) * 3)
    axes.set(xlabel="parameters, all tensors", ylabel=f"Dice, {label}: mean and 95 % interval", ylim=(-0.03, 1.03))
    axes.set_title(_where(result), fontsize=9)
    figure.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=2)
    _grid(axes, "both")
    return figure


def learning_curves(names: Sequence[str], logs: Sequence[Sequence[Mapping[str, float]]]) -> Figure:
    """Draw the loss and the Dice of val patients over the steps of training, for the models that have a log."""
    figure = Figure(figsize=(8.5, 3.8), layout="constrained")
    titles = {"loss": "Loss of training", "val_dice": "Dice on the val patients of the training"}
    panels = figure.subplots(1, 2)
    for axes, (column, title) in zip(panels, titles.items(), strict=True):
        for number, (name, log) in enumerate(zip(names, logs, strict=True)):
            points = [(row["step"], row[column]) for row in log if column in row]
            steps, values = [step for step, _ in points], [value for _, value in points]
            look = _look(number) if len(points) < 40 else {**_look(number), "marker": ""}
            if log:
                axes.plot(steps, values, markersize=4, label=name, **look)
        axes.set(xlabel="step", xlim=(0, None))
        axes.set_title(title, fontsize=9)
        _grid(axes, "both")
    panels[1].set_ylim(-0.03, 1.03)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", frameon=False, fontsize=8, ncols=3
    )
    return figure


def read_log(file: Path) -> list[dict[str, float]]:
    """Read a run's log.csv; cells that are empty, and lines that are no numbers, are left out."""
    rows = []
    with file.open(newline="", encoding="utf-8") as text:
        for line in csv.DictReader(text):
            try:
                row = {name: float(cell) for name, cell in line.items() if name and cell}
            except (TypeError, ValueError):
                continue
            if "step" in row:
                rows.append(row)
    return rows


def _look(number: int) -> dict[str, Any]:
    """Return colour and marker of a model, different also where colours are not seen."""
    return {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)]}


def _where(result: Mapping[str, Any]) -> str:
    data = result["data_set"]
    return f"{data['name']}, {data['split']}, {data['patients']} patients, {data['channels']} channels"


def _folded(name: str) -> str:
    """Break a long name at its blanks."""
    lines = [""]
    for word in name.split():
        if lines[-1] and len(lines[-1]) + len(word) >= _WIDE:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _grid(axes: Any, which: str) -> None:
    axes.grid(alpha=0.3, axis=which)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _save(figure: Figure, file: Path) -> None:
    with replacing(file) as temporary:
        figure.savefig(temporary, dpi=130, format="png", metadata={"Software": None})
