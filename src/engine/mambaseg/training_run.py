"""One training run: what it moves, how it starts, is saved and goes on."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mambaseg.atomic import replacing
from mambaseg.errors import FileError
from mambaseg.network import SegmentationNetwork, build
from mambaseg.predict import channels_last
from mambaseg.training_state import load_state, save_state

if TYPE_CHECKING:
    from pathlib import Path

    from mambaseg.config import NetworkConfig, TrainConfig

STATE = "state.safetensors"
LOG = "log.csv"
COLUMNS = ("step", "seconds", "learning_rate", "loss", "val_dice", "val_dice_required_only")


@dataclass
class TrainingRun:
    """What one run moves."""

    config: TrainConfig
    network: SegmentationNetwork
    average: AveragedModel
    optimiser: torch.optim.Optimizer
    sampler: np.random.Generator
    noise: torch.Generator
    device: torch.device
    recipe: str = ""
    """`recipe_sha256` of what it learns from and how."""
    step: int = 0
    seconds: float = 0.0
    log: list[dict[str, float]] = field(default_factory=list)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What is saved by name."""
        return {"network": self.network, "average": self.average}

    @property
    def rate(self) -> float:
        """The learning rate at this step."""
        return self.config.learning_rate * _share_of_rate(self.step, self.config)

    def set_rate(self) -> None:
        """Give the optimiser this step's learning rate."""
        for group in self.optimiser.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(self.rate)
            else:
                group["lr"] = self.rate

    def seed_dropout(self) -> None:
        """Let this step's dropout, which draws from torch's own generator, depend on nothing but seed and step."""
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)

    def update_average(self) -> None:
        """Let the average follow; the first time it becomes the network."""
        self.average.update_parameters(self.network)

    def lerp_average(self) -> None:
        """Do the same from the second time on, without the look at a counter that would wait for the device."""
        averaged, now = (_floats(module) for module in (self.average.module, self.network))
        torch._foreach_lerp_(averaged, now, 1 - self.config.ema)

    @property
    def averaged(self) -> SegmentationNetwork:
        """The network of averaged weights: what is scored and shipped."""
        module = self.average.module
        if not isinstance(module, SegmentationNetwork):
            raise TypeError(f"the average holds a {type(module).__name__}")
        return module


def start_run(settings: NetworkConfig, config: TrainConfig, device: torch.device, recipe: str = "") -> TrainingRun:
    """Return a run at step 0: everything random comes from the seed."""
    torch.manual_seed(config.seed)
    network = build(settings).to(device)
    if device.type == "cuda":
        channels_last(network)
    optimiser = _optimiser(network, config, device)
    return TrainingRun(
        config=config,
        network=network,
        average=AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True),
        optimiser=optimiser,
        sampler=np.random.default_rng(config.seed),
        noise=torch.Generator(device).manual_seed(config.seed),
        device=device,
        recipe=recipe,
    )


def _optimiser(network: SegmentationNetwork, config: TrainConfig, device: torch.device) -> torch.optim.Optimizer:
    """Return AdamW; on CUDA such that its step can be part of a graph, with a rate that can be changed in place."""
    groups = _groups(network, config.weight_decay)
    if device.type != "cuda":
        return torch.optim.AdamW(groups, lr=config.learning_rate)
    for group in groups:
        group["lr"] = torch.tensor(config.learning_rate, device=device)
    return torch.optim.AdamW(groups, lr=groups[0]["lr"], fused=True, capturable=True)


def _groups(network: SegmentationNetwork, decay: float) -> list[dict[str, Any]]:
    """Tell weights that decay from those that do not."""
    decaying = network.decaying()
    apart = {id(parameter) for parameter in decaying}
    others = [parameter for parameter in network.parameters() if id(parameter) not in apart]
    return [{"params": decaying, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def _floats(module: nn.Module) -> list[torch.Tensor]:
    """Return weights and running statistics."""
    return [tensor.detach() for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point()]


def _share_of_rate(step: int, config: TrainConfig) -> float:
    """Warm up linearly, then fall along a cosine."""
    warm = max(1, round(config.warm_up * config.steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, config.steps - warm)))


def save_run(run: TrainingRun, out: Path) -> None:
    """Write the log and the state, each whole or not at all."""
    with replacing(out / LOG) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(run.log)
    facts = {
        "step": run.step,
        "seconds": run.seconds,
        "log": run.log,
        "config": run.config.model_dump(mode="json"),
        "recipe": run.recipe,
    }
    save_state(out / STATE, facts, run.modules, run.optimiser, (run.sampler, run.noise))


def resume_run(run: TrainingRun, out: Path) -> None:
    """Bring a fresh run to where the one in `out` was saved.

    Raises
    ------
    FileError
        If it was started with other settings or on other cases.
    ModelError
        If its state is damaged.
    """
    facts = load_state(out / STATE, run.modules, run.optimiser, (run.sampler, run.noise))
    _check_config(out, facts["config"], run.config)
    if facts.get("recipe", run.recipe) != run.recipe:
        raise FileError(
            f"the run in {out} was started on other cases, or they were prepared in another way; resume with the same "
            "data set, fold and settings"
        )
    run.step, run.seconds, run.log = facts["step"], facts["seconds"], facts["log"]


def check_out(out: Path, resume: bool) -> None:
    """Never mix two runs in one folder."""
    there = (out / STATE).is_file()
    if resume and not there:
        raise FileError(f"{out} holds no {STATE}; there is nothing to resume: leave --resume out")
    if not resume and there:
        raise FileError(f"{out} already holds a run; give --resume to go on with it, or another folder")


def _check_config(out: Path, before: dict[str, Any], config: TrainConfig) -> None:
    """A run that goes on with other settings would be neither run."""
    now = config.model_dump(mode="json")
    other = [f"{key} {before.get(key)}, not {value}" for key, value in now.items() if before.get(key) != value]
    if other:
        raise FileError(f"the run in {out} was started with {'; '.join(other)}; resume with the same settings")
