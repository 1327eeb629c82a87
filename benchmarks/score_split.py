"""Segment every case of a split through the command line and score it; write a JSON file of results.

Usage: score_split.py DATASET SPLIT[,SPLIT] OUT.json [--model NAME] [--merge-labels]

Each case is segmented twice: with all its channels that the model knows, and with the first (required) one alone.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from mambaseg.data_set import read_data_set


def run(*arguments: str) -> dict:
    """Run `mambaseg … --json` and return what it prints."""
    command = [sys.executable, "-m", "mambaseg.cli", *arguments, "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def score_case(case, channels: list[str], model: str, merge: bool) -> dict:
    """Return the report and the scores of one case."""
    with tempfile.TemporaryDirectory() as folder:
        mask = str(Path(folder) / "mask.nii.gz")
        pairs = [f"{channel}={case.images[channel]}" for channel in channels]
        report = run("segment", *pairs, "-o", mask, "--model", model)
        options = ["--merge-labels"] if merge else []
        scores = run("evaluate", "--prediction", mask, "--reference", str(case.label), *options)
    how = {"model": f"{report['model']} {report['version']}", "device": report["device"], "seconds": report["seconds"]}
    return {**scores["cases"][0], "case": case.name, "channels": channels, **how}


def main() -> None:
    """Score a split."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", type=Path)
    parser.add_argument("split")
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="brain-tumour")
    parser.add_argument("--merge-labels", action="store_true")
    given = parser.parse_args()
    data_set = read_data_set(given.dataset)
    known = ("flair", "t1", "t1c")
    rows: dict[str, list[dict]] = {"all_channels": [], "flair_only": []}
    for case in [case for split in given.split.split(",") for case in data_set.splits[split]]:
        there = [channel for channel in known if channel in case.images]
        for name, channels in (("all_channels", there), ("flair_only", there[:1])):
            rows[name].append(score_case(case, channels, given.model, given.merge_labels))
            print(name, case.name, f"{rows[name][-1]['dice']:.4f}", flush=True)
    figures = ("dice", "iou", "hd95_mm", "nsd_1mm", "volume_error_ml")
    result = {
        "protocol": "per-patient scores over whole stacks, threshold 0.5, then the mean over patients",
        "data": f"{given.dataset.name}, split {given.split}, {len(rows['all_channels'])} patients",
        "command": f"score_split.py {given.dataset.name} {given.split} --model {given.model}"
        + (" --merge-labels" if given.merge_labels else ""),
        "commit": subprocess.run(["git", "describe", "--always"], capture_output=True, text=True).stdout.strip(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, CPU",
        "versions": {"python": platform.python_version(), **{p: version(p) for p in ("torch", "monai", "numpy")}},
        "mean": {name: {f: round(float(np.mean([r[f] for r in of])), 4) for f in figures} for name, of in rows.items()},
        "rows": rows,
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["mean"], indent=1))


if __name__ == "__main__":
    main()
