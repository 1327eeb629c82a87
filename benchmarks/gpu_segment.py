"""Segment heads on the CPU and on a CUDA GPU; compare masks, seconds and memory; write a JSON file.

Usage: gpu_segment.py OUT.json

On the GPU three times over: with all its memory, with a third of what a run takes, and with none.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from mambaseg.benchmark_machine import provenance
from mambaseg.benchmark_volume import case_volume
from mambaseg.jobs import Job
from mambaseg.registry import load_model
from mambaseg.segment import segment
from mambaseg.synthetic import synthetic_brain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mambaseg.checkpoint import Checkpoint
    from mambaseg.segmentation import Segmentation
    from mambaseg.volume import Volume

SHAPES = {"thick slices": ((240, 240, 40), (1.0, 1.0, 4.0)), "1 mm": ((240, 240, 155), (1.0, 1.0, 1.0))}
WARM_RUNS = 5


def run(brain: Volume, model: Checkpoint, device: str) -> tuple[Segmentation, float]:
    """Return what one run found, and its seconds as a caller sees them."""
    begun = time.perf_counter()
    found = Job(lambda: segment(brain, model, device=device, with_probabilities=True)).run()
    return found, time.perf_counter() - begun


def figures(found: Segmentation, seconds: float) -> dict:
    """Return how a run went."""
    took = {"total": seconds, **found.seconds}
    said = {"device": found.device, "warnings": list(found.warnings)}
    return {**said, "seconds": {name: round(value, 3) for name, value in took.items()}}


def compare(found: Segmentation, reference: Segmentation) -> dict:
    """Return how far a run is from the CPU's."""
    one, other = found.labels.data > 0, reference.labels.data > 0
    apart = np.abs(found.probabilities.data - reference.probabilities.data)
    return {
        "voxels": one.size,
        "voxels_in_mask_cpu": int(other.sum()),
        "different_voxels": int((found.labels.data != reference.labels.data).sum()),
        "equal_share": float((found.labels.data == reference.labels.data).mean()),
        "dice": round(float(2 * (one & other).sum() / (one.sum() + other.sum())), 6),
        "largest_difference_of_probability": round(float(apart.max()), 4),
    }


@contextmanager
def room_for(more: float) -> Iterator[None]:
    """Let torch take no more than this many bytes beside what it holds."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + more) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def heads() -> Iterator[tuple[str, Volume]]:
    """Return synthetic heads with three channels, and a patient's FLAIR where real data is beside the checkout."""
    for name, (shape, spacing) in SHAPES.items():
        yield f"synthetic, {name}", synthetic_brain(seed=0, shape=shape, spacing_mm=spacing).volume
    patient, facts = case_volume()
    if "synthetic" not in facts["source"]:
        yield facts["source"], patient


def measure(brain: Volume, model: Checkpoint) -> dict:
    """Return all figures of one head."""
    on_cpu = run(brain, model, "cpu")
    first = run(brain, model, "cuda")
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    warm = [run(brain, model, "cuda") for _ in range(WARM_RUNS)]
    takes = torch.cuda.max_memory_allocated() - held
    median = statistics.median(seconds for _, seconds in warm)
    network = statistics.median(found.seconds["network"] for found, _ in warm)
    with room_for(takes / 3):
        little = run(brain, model, "cuda")
    with room_for(0):
        none = run(brain, model, "cuda")
    rows = {"cpu": on_cpu, "gpu_first": first, "gpu_warm_last": warm[-1], "gpu_little": little, "gpu_none": none}
    return {
        "shape": brain.shape,
        "spacing_mm": [float(step) for step in brain.spacing_mm],
        "channels": brain.channels,
        "backend": first[0].backend,
        "gpu_warm_seconds_median": {"runs": WARM_RUNS, "total": round(median, 3), "network": round(network, 3)},
        "network_speedup": round(on_cpu[0].seconds["network"] / network, 1),
        "gpu_memory_mb": round(takes / 1e6),
        "little_memory_mb": round(takes / 3e6),
        "runs": {row: {**figures(*of), **compare(of[0], on_cpu[0])} for row, of in rows.items()},
    }


def main() -> None:
    """Measure all heads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    model = load_model()
    result = {
        **provenance("benchmarks/gpu_segment.py OUT.json"),
        "protocol": "each head segmented whole with probabilities; bfloat16 outside the scan on the GPU",
        "model": model.title,
        "heads": {name: measure(brain, model) for name, brain in heads()},
    }
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
