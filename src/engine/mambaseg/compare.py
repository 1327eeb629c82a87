"""`mambaseg compare`: several models on the same patients, scored alike; a task."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mambaseg.benchmark_machine import provenance
from mambaseg.benchmark_row import keep_volume
from mambaseg.compare_contenders import CHANNELS, Contender, channels_for, check_fit, load_contenders
from mambaseg.compare_facts import facts
from mambaseg.compare_memory import peak_apart
from mambaseg.compare_scores import score_case, scored_labels, summaries
from mambaseg.compare_tables import PROTOCOL, RESULT, write_tables
from mambaseg.data_set import Case, DataSet, check_label_values, load_case, read_data_set
from mambaseg.device import choose_device
from mambaseg.errors import DataSetError, FileError, MambaSegError, VolumeError
from mambaseg.files import write
from mambaseg.jobs import Progress
from mambaseg.segment import segment
from mambaseg.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from mambaseg.segmentation import Segmentation
    from mambaseg.volume import LabelMap


@dataclass
class _Runs:
    """What comes of one model's runs over all cases."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """By the device that each case ran on."""
    warnings: dict[str, list[str]] = field(default_factory=dict)


def compare(
    folder: Path | str,
    models: Sequence[str],
    out: Path | str,
    split: str = "val",
    channels: str = "all",
    device: str = "auto",
) -> Generator[Progress, None, dict[str, Any]]:
    """Segment and score every case of a split with every model; a task.

    Parameters
    ----------
    folder
        A data set in nnU-Net's raw layout with a splits.json of patient-level lists.
    models
        Names from `mambaseg models` or folders; differences are those to the first.
    out
        Made if needed; gets the masks, tables, plots and, last, compare.json.
    split
        A list of splits.json: "val", "test" or "train".
    channels
        "all" that a case has and a model knows, or "required" ones alone.
    device
        "auto", "cpu", "cuda" or "mps".

    Returns
    -------
    dict
        What compare.json says.

    Raises
    ------
    DataSetError, ModelError, FileError, DeviceError
        If the models do not fit the data set, or `out` already holds a comparison; before anything runs.
    """
    if channels not in CHANNELS:
        raise DataSetError(f"--channels is {channels!r}; choose from {', '.join(CHANNELS)}")
    data_set, out, chosen = read_data_set(Path(folder)), Path(out), choose_device(device).type
    cases, contenders = _cases(data_set, split), load_contenders(models)
    for contender in contenders:
        check_fit(contender, data_set, cases)
    _make_out(out)
    words = f"{data_set.folder.name} --models {','.join(Path(name).name for name in models)} --out {out.name}"
    before = provenance(f"mambaseg compare {words} --split {split} --channels {channels} --device {device}")
    found, rows = [], []
    for contender in contenders:
        runs = yield from _run_model(contender, data_set, cases, channels, chosen, out)
        peak = yield from _peak(contender, cases, channels, chosen)
        rows += [{"model": contender.name, **row} for row in runs.rows]
        found.append({**facts(contender), **_medians(runs), **peak, "warnings": runs.warnings})
    yield Progress("writing", 0)
    labels = scored_labels(data_set.labels)
    scores = summaries(rows, [contender.name for contender in contenders], labels)
    about = {"name": data_set.folder.name, "split": split, "channels": channels, "labels": labels}
    result = {
        **before,
        "device": chosen,
        "protocol": PROTOCOL,
        "data_set": {
            **about,
            "patients": len({case.patient for case in cases}),
            "cases": [case.name for case in cases],
        },
        "models": [{**model, "scores": scores[model["name"]]} for model in found],
        "cases": rows,
    }
    from mambaseg.compare_plots import draw_plots  # Only here: it loads matplotlib.

    draw_plots(result, contenders, cases, out)
    write_tables(result, out)
    return result


def _cases(data_set: DataSet, split: str) -> tuple[Case, ...]:
    """Return the cases of a split that there is."""
    cases = data_set.splits.get(split, ())
    if not cases:
        there = ", ".join(name for name, some in data_set.splits.items() if some)
        raise DataSetError(f"splits.json of {data_set.folder.name} has no cases under {split!r}; choose from {there}")
    return cases


def _make_out(out: Path) -> None:
    """Make the folder; never mix two comparisons in one."""
    if (out / RESULT).exists():
        raise FileError(f"{out} already holds a comparison; give --out another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"the folder {out} could not be made ({error.strerror}); give --out a folder that you may write to"
        ) from None


def _run_model(
    contender: Contender, data_set: DataSet, cases: Sequence[Case], channels: str, device: str, out: Path
) -> Generator[Progress, None, _Runs]:
    """Segment every case, keep the masks and score them."""
    runs, masks = _Runs(), out / "masks" / contender.file_name
    masks.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(cases):
        yield Progress(f"{contender.name}: {case.name}", number, len(cases))
        volume, truth = _load(contender, case, channels)
        check_label_values(truth, data_set, case)
        if number == 0:  # warm up: what the first run of a process takes is not the model's
            yield from _segment(volume, contender, case, device)
        begun = time.perf_counter()
        found = yield from _segment(volume, contender, case, device)
        runs.seconds.setdefault(found.device, []).append(time.perf_counter() - begun)
        if found.warnings:
            runs.warnings[case.name] = list(found.warnings)
        write(found.labels, masks / f"{case.name}.nii.gz")
        runs.rows += score_case(found.labels, truth, case, data_set.labels)
    return runs


def _load(contender: Contender, case: Case, channels: str) -> tuple[Volume, LabelMap]:
    """Read a case and keep the channels that the model is given."""
    volume, truth = load_case(case)
    given = channels_for(contender, case, channels)
    kept = np.stack([volume.channel(name) for name in given])
    return Volume(kept, volume.affine, given, volume.stored), truth


def _segment(volume: Volume, contender: Contender, case: Case, device: str) -> Generator[Progress, None, Segmentation]:
    """Segment, and say which case it was that could not be."""
    try:
        return (yield from segment(volume, contender.checkpoint, device))
    except VolumeError as error:
        raise DataSetError(f"{case.name}: {error}") from None


def _peak(
    contender: Contender, cases: Sequence[Case], channels: str, device: str
) -> Generator[Progress, None, dict[str, Any]]:
    """Return the peak of memory in a fresh process, on the first case; where it fails, why."""
    yield Progress(f"{contender.name}: memory", 0)
    volume, _ = _load(contender, cases[0], channels)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "volume.npz"
        keep_volume(volume, file)
        try:
            found = peak_apart(contender.folder, device, file)
        except MambaSegError as error:
            return {"peak_bytes": None, "peak_missing": str(error)}
    return {"peak_bytes": found["peak_bytes"]}


def _medians(runs: _Runs) -> dict[str, float | None]:
    """Return the median seconds of a volume on the CPU and on a GPU; None where nothing ran."""
    gpu = [second for device, seconds in runs.seconds.items() if device != "cpu" for second in seconds]
    cpu = runs.seconds.get("cpu", [])
    return {
        "seconds_cpu": round(statistics.median(cpu), 4) if cpu else None,
        "seconds_gpu": round(statistics.median(gpu), 4) if gpu else None,
    }
