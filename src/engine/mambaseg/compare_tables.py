"""What a comparison found, as files: table.md, table.csv, cases.csv and compare.json, each whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from mambaseg.atomic import replacing
from mambaseg.compare_scores import SCORES
from mambaseg.paired_statistics import DRAWS, SHARE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

RESULT = "compare.json"
PROTOCOL = (
    "Each case is scored over its whole volume, on its own grid, empty slices included; nothing is cleaned up. A "
    "patient with several cases counts once, with their mean. Several labels are also scored merged, as `any`. dice, "
    "iou: over voxels. hd95_mm: 95th percentile of the symmetric surface distance. nsd_1mm: normalised surface Dice "
    "at 1 mm. volume_error_ml: prediction minus reference. Reference and prediction both empty: dice, iou, nsd_1mm "
    "1, hd95_mm 0. One of them empty, a missed or an invented lesion: dice, iou, nsd_1mm 0, hd95_mm the diagonal of "
    f"the volume. Mean over patients with its {SHARE:.0f} % interval: percentiles of {DRAWS:,} bootstrap draws of "
    "patients (seed 0), the same for all models. Differences: this model minus the first, patient by patient; p: "
    "Wilcoxon signed-rank test, two-sided, patients without a difference left out, not corrected for the number of "
    "tests. parameters: all tensors that training moves, running statistics of norms included; learnable_parameters: "
    "those with a gradient; bytes: model.safetensors. flops_256: one 256 x 256 slice, matrix products and "
    "convolutions alone as torch.utils.flop_counter counts them (a multiplication and an addition are two), on the "
    "CPU with the scan's back end `torch`; what works element by element, most of a selective scan among it, is not "
    "counted. training_seconds, training_device: as the model's card says; models with the same recipe_sha256 "
    "learned from the same cases with the same settings, but for network and learning rate. seconds_cpu, "
    "seconds_gpu: median over the cases, from a volume in memory to a label map in memory, after one run to warm up; "
    "empty where the comparison did not run. peak_bytes: a fresh process that segments the first case once; its "
    "largest resident set, or on a GPU the most that torch held. The scores in a model's card come from other "
    "protocols and are not used. Whether a model has learned from these patients is for the reader to know: "
    "training_data says what its card says."
)
FACTS = (
    "name",
    "network",
    "sha256",
    "parameters",
    "learnable_parameters",
    "bytes",
    "flops_256",
    "training_seconds",
    "training_device",
    "training_data",
    "recipe_sha256",
    "seconds_cpu",
    "seconds_gpu",
    "peak_bytes",
)
_HEADINGS = {
    "dice": "Dice",
    "iou": "IoU",
    "hd95_mm": "HD95, mm",
    "nsd_1mm": "NSD 1 mm",
    "volume_error_ml": "volume error, ml",
    "absolute_volume_error_ml": "without sign, ml",
}
_DECIMALS = {"dice": 3, "iou": 3, "nsd_1mm": 3}


def write_tables(result: Mapping[str, Any], out: Path) -> None:
    """Write the files into `out`; compare.json, which vouches for the rest, comes last."""
    _write(out / "table.md", markdown(result))
    _write(out / "table.csv", _csv(map(model_row, result["models"])))
    _write(out / "cases.csv", _csv(result["cases"]))
    _write(out / RESULT, json.dumps(result, indent=1, allow_nan=False) + "\n")


def model_row(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a model as one flat row: facts, then each label's scores."""
    row = {fact: model[fact] for fact in FACTS}
    for label, scores in model["scores"].items():
        for name, score in scores.items():
            column = f"{label}_{name}"
            row |= {column: score["mean"]} | {f"{column}_{part}": score[part] for part in ("low", "high", "median")}
            apart = score["difference"] or {"mean": None, "low": None, "high": None}
            row |= {f"{column}_difference": apart["mean"]}
            row |= {f"{column}_difference_{part}": apart[part] for part in ("low", "high")}
            row |= {f"{column}_p": score["p"]}
    return row


def markdown(result: Mapping[str, Any]) -> str:
    """Return the tables as people read them."""
    data, models = result["data_set"], result["models"]
    patients = data["patients"]
    title = (
        f"{data['name']}, {data['split']}: {patients} patient{'s' if patients > 1 else ''}, {data['channels']} channels"
    )
    lines = [f"# {title}", ""]
    for label in data["labels"]:
        lines += [f"## {label}", "", "Mean over patients [95 % interval].", ""]
        lines += _table(("model", *_HEADINGS.values()), ([m["name"], *_means(m["scores"][label])] for m in models))
        if len(models) > 1:
            lines += [f"Difference to {_cell(models[0]['name'])} [95 % interval], p.", ""]
            lines += _table(
                ("model", *_HEADINGS.values()), ([m["name"], *_differences(m["scores"][label])] for m in models[1:])
            )
    headings = ("parameters", "learnable", "MB", "GFLOPs a slice", "s a volume, CPU", "GPU", "peak MB", "trained")
    lines += ["## Size and cost", ""]
    lines += _table(("model", *headings, "recipe", "learned from"), map(_costs, models))
    machine = result["machine"]
    where = f"{machine['cpu']}, {machine['threads']} threads" + (f", {machine['gpu']}" if machine["gpu"] else "")
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    made = f"`{result['command']}`, {result['date'][:10]}, commit {result['commit']}. {where}; {versions}."
    return "\n".join([*lines, f"{result['protocol']}", "", made, ""])


def in_words(result: Mapping[str, Any]) -> str:
    """Return a line for each model: its Dice, and how surely it differs from the first."""
    label, lines = result["data_set"]["labels"][0], []
    for model in result["models"]:
        dice = model["scores"][label]["dice"]
        apart = dice["difference"]
        more = "" if apart is None else f"; {apart['mean']:+.3f} {_between('dice', apart, '+')}, p {dice['p']:.2g}"
        counted = f"{model['parameters']:,} parameters"
        lines.append(f"{model['name']}: Dice {label} {dice['mean']:.3f} {_between('dice', dice)}{more}; {counted}")
    return "\n".join(lines)


def _means(scores: Mapping[str, Any]) -> list[str]:
    return [f"{_number(name, scores[name]['mean'])} {_between(name, scores[name])}" for name in SCORES]


def _differences(scores: Mapping[str, Any]) -> list[str]:
    cells = []
    for name in SCORES:
        apart = scores[name]["difference"]
        mean = _number(name, apart["mean"], "+")
        cells.append(f"{mean} {_between(name, apart, '+')}, {scores[name]['p']:.2g}")
    return cells


def _costs(model: Mapping[str, Any]) -> list[str]:
    a_volume = [f"{model[key]:.3g}" if model[key] is not None else "" for key in ("seconds_cpu", "seconds_gpu")]
    peak = f"{model['peak_bytes'] / 1e6:,.0f}" if model["peak_bytes"] else ""
    trained = (
        "" if model["training_seconds"] is None else f"{model['training_seconds']:g} s, {model['training_device']}"
    )
    counts = [f"{model['parameters']:,}", f"{model['learnable_parameters']:,}"]
    return [
        model["name"],
        *counts,
        f"{model['bytes'] / 1e6:.2f}",
        f"{model['flops_256'] / 1e9:.3g}",
        *a_volume,
        peak,
        trained,
        (model["recipe_sha256"] or "")[:8],
        model["training_data"],
    ]


def _between(name: str, score: Mapping[str, float], sign: str = "") -> str:
    return f"[{_number(name, score['low'], sign)}, {_number(name, score['high'], sign)}]"


def _number(name: str, value: float, sign: str = "") -> str:
    decimals = _DECIMALS.get(name, 1)
    return f"{round(value, decimals) + 0.0:{sign}.{decimals}f}"  # never -0.0


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [headings, ["---"] * len(headings), *([_cell(cell) for cell in row] for row in rows)]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _csv(rows: Iterable[Mapping[str, Any]]) -> str:
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
