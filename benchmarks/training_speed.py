"""Measure how fast the shipped network learns on a GPU: steps a second, and how busy they keep it. Writes JSON.

Usage: training_speed.py OUT.json

Batches of 32 slices of 256 x 256 with 9 channels (3 MRI channels, each with its two neighbours), drawn and augmented as
in training, from random slices in the GPU's memory: what they show does not change the speed. A step is timed with all
that belongs to it, as ordinary calls and as a CUDA graph. `gpu_ms` is what the kernels of a step take, by torch's
profiler; the busy share is that of the time of a step without the profiler.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from monai.losses import DiceCELoss
from torch.profiler import ProfilerActivity, profile

from mambaseg.augment import Augment
from mambaseg.benchmark_machine import provenance
from mambaseg.config import MambaSeg2dConfig, TrainConfig
from mambaseg.learning import Learner
from mambaseg.training_run import start_run

if TYPE_CHECKING:
    from collections.abc import Callable

SLICES, SIZE, CHANNELS = 512, 256, 3
WARM_UP, STEPS, PROFILED = 12, 100, 5


def sampler(augment: Augment, batch: int, device: torch.device) -> Callable[[], tuple[torch.Tensor, ...]]:
    """Return a function that draws and augments a batch as training does."""
    images = torch.rand(SLICES, CHANNELS, SIZE, SIZE, device=device).half()
    labels = (torch.rand(SLICES, SIZE, SIZE, device=device) > 0.97).to(torch.uint8)

    def draw() -> tuple[torch.Tensor, ...]:
        index = torch.randint(0, SLICES, (batch,)).pin_memory().to(device, non_blocking=True)
        stacked = torch.stack([images[i] for i in (index, index, index)], dim=2)
        there = torch.ones(batch, CHANNELS, device=device)
        return augment(stacked.flatten(1, 2).float(), labels[index][:, None], there)

    return draw


def seconds_of(run: Callable[[], object], repeats: int) -> float:
    """Return the seconds of one call, averaged over a row of calls that nothing waits for."""
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(repeats):
        run()
    torch.cuda.synchronize()
    return (time.perf_counter() - begun) / repeats


def gpu_ms(run: Callable[[], object]) -> float:
    """Return the milliseconds that the kernels of one call take."""
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        for _ in range(PROFILED):
            run()
        torch.cuda.synchronize()
    return sum(event.self_device_time_total for event in found.key_averages()) / 1e3 / PROFILED


def measure(graphs: bool, device: torch.device) -> dict[str, object]:
    """Measure one way to learn."""
    config = TrainConfig()
    run = start_run(MambaSeg2dConfig(), config, device)
    optional = torch.tensor([False, True, True], device=device)
    draw = sampler(Augment((SIZE, SIZE), optional, config.drop_optional, run.noise), config.batch, device)
    loss_of = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)
    learner = Learner(run, loss_of, graphs)

    def step() -> None:
        learner.learn(draw())
        run.step += 1

    begun = time.perf_counter()
    seconds_of(step, WARM_UP)
    first = time.perf_counter() - begun
    seconds, kernels = seconds_of(step, STEPS), gpu_ms(step)
    return {
        "launched": "graph" if learner.is_graph else "eager",
        "batch": config.batch,
        "steps_per_second": round(1 / seconds, 2),
        "step_ms": round(seconds * 1e3, 3),
        "gpu_ms": round(kernels, 3),
        "gpu_busy_share": round(kernels / seconds / 1e3, 3),
        "augmentation_ms": round(seconds_of(draw, STEPS) * 1e3, 3),
        "augmentation_gpu_ms": round(gpu_ms(draw), 3),
        "first_steps_seconds": round(first, 1),
        "peak_bytes": torch.cuda.max_memory_allocated(),
    }


def main() -> None:
    """Measure both ways and write them down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out, device = parser.parse_args().out, torch.device("cuda")
    result = {
        **provenance("benchmarks/training_speed.py OUT.json"),
        "protocol": __doc__,
        "rows": [measure(graphs, device) for graphs in (False, True)],
    }
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["rows"], indent=1))


if __name__ == "__main__":
    main()
