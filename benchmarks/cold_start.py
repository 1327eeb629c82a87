"""Where the seconds of `mambaseg segment` go in a fresh process; write a JSON file.

Usage: cold_start.py OUT.json

A synthetic head of 256 x 256 x 30 voxels is written to a temporary folder and segmented from the command line on
the CPU, again and again, each time by a new process. Medians, in seconds.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from mambaseg.benchmark_machine import provenance
from mambaseg.files import write
from mambaseg.synthetic import synthetic_brain

RUNS = 7
SHAPE, SPACING_MM = (256, 256, 30), (1.0, 1.0, 5.0)
INSIDE = """
import json, sys, time
begun = time.perf_counter()
from mambaseg.cli import end_quickly, importing
end_quickly()
with importing():
    from mambaseg.files import check_writable_target, read, write
    from mambaseg.registry import load_model
    from mambaseg.segment import segment
imported = time.perf_counter()
load_model("brain-tumour")
loaded = time.perf_counter()
read(sys.argv[1])
ended = time.perf_counter()
print(json.dumps({"imports": imported - begun, "model": loaded - imported, "reading": ended - loaded}))
print(time.time())
"""
"""What `segment` does before its own --json begins to count, and how it ends."""
PROTOCOL = (
    f"medians of {RUNS} processes each. all: the command as its caller sees it; interpreter: python -c pass; imports, "
    "model, reading, exit: a process that does just these; prepare, network, writing: what the command's own --json "
    "says; rest: all without the others. packages: python -X importtime, in another run, its own cost included."
)


def run(words: list[str]) -> tuple[str, str, float]:
    """Return what a new Python printed, to both streams, and the seconds it took."""
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    return done.stdout, done.stderr, time.perf_counter() - begun


def package_seconds(words: list[str]) -> dict[str, float]:
    """Return the seconds of importing by top-level package, the dearest first."""
    seconds: Counter[str] = Counter()
    for match in re.finditer(r"import time:\s+(\d+) \|\s+\d+ \|\s+([\w.]+)", run(["-X", "importtime", *words])[1]):
        seconds[match[2].partition(".")[0]] += int(match[1])
    dear = {name: round(micros / 1e6, 3) for name, micros in seconds.most_common(12)}
    return {**dear, "all": round(seconds.total() / 1e6, 3)}


def measure(folder: Path) -> dict:
    """Return all figures."""
    source, target = folder / "flair.nii.gz", folder / "mask.nii.gz"
    write(synthetic_brain(seed=0, shape=SHAPE, spacing_mm=SPACING_MM, channels=("flair",)).volume, source)
    command = ["-m", "mambaseg.cli", "segment", str(source), "-o", str(target), "--device", "cpu", "--json"]
    run(command)  # the first run reads from the disk what later ones find in memory
    parts: dict[str, list[float]] = {}

    def add(**seconds: float) -> None:
        for name, value in seconds.items():
            parts.setdefault(name, []).append(value)

    for _ in range(RUNS):
        printed, _, seconds = run(command)
        told = json.loads(printed)["seconds"]
        add(all=seconds, prepare=told["prepare"], network=told["network"], writing=told["write"])
        add(interpreter=run(["-c", "pass"])[2])
        printed = run(["-c", INSIDE, str(source)])[0].splitlines()
        add(exit=time.time() - float(printed[1]), **json.loads(printed[0]))
    medians = {name: round(statistics.median(values), 3) for name, values in parts.items()}
    known = sum(value for name, value in medians.items() if name != "all")
    medians["rest"] = round(medians["all"] - known, 3)
    runs = sorted(round(seconds, 3) for seconds in parts["all"])
    return {"seconds": medians, "all_runs": runs, "packages": package_seconds(command)}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    facts = {"protocol": PROTOCOL, "shape": SHAPE, "spacing_mm": SPACING_MM}
    before = provenance("cold_start.py OUT.json")
    with tempfile.TemporaryDirectory() as folder:
        result = {**before, **facts, **measure(Path(folder))}
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
