"""Train a network on a data set: a task that yields Progress, can be stopped at each step and resumed."""

from __future__ import annotations

import csv
import math
import platform
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from monai.losses import DiceCELoss
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mambaseg.augment import Augment
from mambaseg.checkpoint import Card, Channel, Checkpoint, LabelSpec, make_checkpoint, save_checkpoint
from mambaseg.config import NetworkConfig, PrepareConfig, TrainConfig
from mambaseg.data_set import DataSet, read_data_set
from mambaseg.device import choose_device
from mambaseg.errors import DataSetError, FileError
from mambaseg.jobs import Progress
from mambaseg.network import MambaSeg2d, build
from mambaseg.predict import precision, probabilities, with_background
from mambaseg.slice_bank import SliceBank, fill_bank
from mambaseg.training_state import load_state, save_state

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

COLORS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
"""Okabe and Ito's palette, which colour-blind people can tell apart."""
STATE = "state.safetensors"
LOG = "log.csv"


@dataclass
class _Run:
    """What one run moves."""

    config: TrainConfig
    network: MambaSeg2d
    average: AveragedModel
    forward: nn.Module
    """The network, compiled where that pays."""
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    sampler: np.random.Generator
    noise: torch.Generator
    device: torch.device
    step: int = 0
    seconds: float = 0.0
    log: list[dict[str, float]] = field(default_factory=list)

    @property
    def modules(self) -> dict[str, nn.Module]:
        return {"network": self.network, "average": self.average}


def train(
    folder: Path | str,
    out: Path | str,
    network: NetworkConfig | None = None,
    config: TrainConfig | None = None,
    prepare: PrepareConfig | None = None,
    name: str = "model",
    device: str = "auto",
    resume: bool = False,
) -> Generator[Progress, None, Checkpoint]:
    """Train on the `train` cases of a data set; `val` cases are scored, never learned from.

    Parameters
    ----------
    folder
        A data set in nnU-Net's raw layout with a splits.json of patient-level lists.
    out
        Made if needed; gets log.csv, state.safetensors (for `resume`) and, at the end, the model.
    network, config, prepare
        Settings; the network's channels and labels are taken from the data set.
    name
        The model's name.
    device
        "auto", "cpu", "cuda" or "mps".
    resume
        Go on from the last saved state in `out`; the run is then the same as one without a break.

    Raises
    ------
    DataSetError, VolumeError, FileError
        If the data cannot be trained on, or `out` holds a run and `resume` is False.
    """
    config, chosen, out = config or TrainConfig(), choose_device(device), Path(out)
    data_set = read_data_set(Path(folder))
    _check_out(out, resume)
    channels = tuple(Channel(name=c, required=i == 0) for i, c in enumerate(data_set.channels))
    settings = (network or NetworkConfig()).model_copy(
        update={"channels": len(channels), "labels": len(data_set.labels)}
    )
    prepare = prepare or PrepareConfig()
    learn = yield from fill_bank(data_set, data_set.splits["train"], channels, prepare, chosen)
    check = yield from fill_bank(data_set, data_set.splits["val"], channels, prepare, chosen)
    if not learn.tumour.size:
        raise DataSetError(f"no train case of {folder} has a label; at least one must show what to learn")
    run = _start(settings, config, chosen)
    if resume:
        facts = load_state(out / STATE, run.modules, run.optimiser, (run.sampler, run.noise))
        run.step, run.seconds, run.log = facts["step"], facts["seconds"], facts["log"]
        run.schedule.load_state_dict(facts["schedule"])
    out.mkdir(parents=True, exist_ok=True)
    yield from _steps(run, learn, check, channels, out)
    card = _card(name, data_set, channels, settings, prepare, run)
    averaged: MambaSeg2d = run.average.module
    return save_checkpoint(make_checkpoint(card, averaged), out)


def _check_out(out: Path, resume: bool) -> None:
    """Never mix two runs in one folder."""
    there = (out / STATE).is_file()
    if resume and not there:
        raise FileError(f"{out} holds no {STATE}; there is nothing to resume: leave --resume out")
    if not resume and there:
        raise FileError(f"{out} already holds a run; give --resume to go on with it, or another folder")


def _start(settings: NetworkConfig, config: TrainConfig, device: torch.device) -> _Run:
    """Return a run at step 0: everything random comes from the seed."""
    torch.manual_seed(config.seed)
    network = build(settings).to(device)
    if device.type == "cuda":
        network = network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(_groups(network, config.weight_decay), lr=config.learning_rate)
    return _Run(
        config=config,
        network=network,
        average=AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True),
        forward=_compiled(network) if config.compile and device.type == "cuda" else network,
        optimiser=optimiser,
        schedule=torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, config)),
        sampler=np.random.default_rng(config.seed),
        noise=torch.Generator(device).manual_seed(config.seed),
        device=device,
    )


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weights of convolutions decay; norms, biases and the scan's rates and steps do not."""
    decaying = [p for p in network.parameters() if p.ndim > 2]
    others = [p for p in network.parameters() if p.ndim <= 2]
    return [{"params": decaying, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def _rate(step: int, config: TrainConfig) -> float:
    """Warm up linearly, then fall along a cosine."""
    warm = max(1, round(config.warm_up * config.steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, config.steps - warm)))


def _compiled(network: nn.Module) -> nn.Module:
    """Compile; a machine without a compiler trains all the same, only slower."""
    torch._dynamo.config.suppress_errors = True
    compiled: nn.Module = torch.compile(network)
    return compiled


def _steps(
    run: _Run, learn: SliceBank, check: SliceBank, channels: tuple[Channel, ...], out: Path
) -> Generator[Progress, None, None]:
    """Learn step by step; save, score and report on the way."""
    config = run.config
    patch = config.patch or (learn.images.shape[2], learn.images.shape[3])
    patch = tuple(-(-size // run.network.multiple) * run.network.multiple for size in patch)
    optional = torch.tensor([not c.required for c in channels], device=run.device)
    augment = Augment(patch, optional, config.drop_optional, run.noise)
    loss_of = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)
    every = torch.arange(len(learn.images))
    recent = torch.zeros((), device=run.device)
    while run.step < config.steps:
        begun = time.perf_counter()
        index = _draw(run.sampler, every.numpy(), learn.tumour, config).to(run.device)
        batch = augment(*learn.batch(index, run.network.config.neighbours))
        recent = recent + _learn(run, batch, loss_of)
        run.step += 1
        metrics: dict[str, float] = {}
        if run.step % 20 == 0 or run.step == config.steps:
            metrics["loss"] = recent.item() / (run.step % 20 or 20)
            if not math.isfinite(metrics["loss"]):
                raise DataSetError(f"the loss became {metrics['loss']} at step {run.step}; lower the learning rate")
            recent = torch.zeros((), device=run.device)
        if run.step % config.validate_every == 0 or run.step == config.steps:
            metrics.update(validate(run.average.module, check, optional))
        run.seconds += time.perf_counter() - begun
        if metrics:
            rate = run.optimiser.param_groups[0]["lr"]
            run.log.append({"step": run.step, "seconds": round(run.seconds, 1), "learning_rate": rate, **metrics})
        if run.step % config.checkpoint_every == 0 or run.step == config.steps:
            _save(run, out)
        yield Progress("training", run.step, config.steps, metrics)


def _draw(sampler: np.random.Generator, every: np.ndarray, tumour: np.ndarray, config: TrainConfig) -> Tensor:
    """Draw slices, a share of them from those with a label."""
    from_tumour = round(config.batch * config.foreground)
    chosen = [sampler.choice(tumour, from_tumour), sampler.choice(every, config.batch - from_tumour)]
    return torch.from_numpy(np.concatenate(chosen))


def _learn(run: _Run, batch: tuple[Tensor, Tensor, Tensor], loss_of: nn.Module) -> Tensor:
    """One step of gradient descent; returns the loss without waiting for the device."""
    slices, labels, present = batch
    run.forward.train()
    with precision(run.device):
        if run.device.type == "cuda":
            slices = slices.contiguous(memory_format=torch.channels_last)
        outputs = run.forward(slices, present)
    loss = torch.zeros((), device=run.device)
    for weight, logits in zip(run.config.deep_supervision, outputs, strict=False):
        stride = labels.shape[-1] // logits.shape[-1]
        target = labels[..., ::stride, ::stride] if stride > 1 else labels
        loss = loss + weight * loss_of(with_background(logits.float()), target)
    loss = loss / sum(run.config.deep_supervision)
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(run.network.parameters(), run.config.clip_norm)
    run.optimiser.step()
    run.schedule.step()
    run.average.update_parameters(run.network)
    return loss.detach()


def validate(network: nn.Module, bank: SliceBank, optional: Tensor) -> dict[str, float]:
    """Mean per-patient Dice over whole stacks, with all channels and with the required ones alone."""
    network.eval()
    result = {}
    for name, keep in (("val_dice", torch.ones_like(optional)), ("val_dice_required_only", ~optional)):
        scores = []
        for place in bank.cases.values():
            overlap, size = torch.zeros((), device=optional.device), torch.zeros((), device=optional.device)
            for index in torch.arange(place.start, place.stop, device=optional.device).split(32):
                slices, labels, present = bank.batch(index, network.config.neighbours)
                present = present * keep.float()
                channels = slices.unflatten(1, (present.shape[1], -1)) * present[:, :, None, None, None]
                plane = slices.shape[2], slices.shape[3]
                found = probabilities(network, channels.flatten(1, 2), present, network.multiple, plane).argmax(1) > 0
                truth = labels[:, 0] > 0
                overlap, size = overlap + 2 * (found & truth).sum(), size + found.sum() + truth.sum()
            scores.append((overlap / size).nan_to_num(1.0))
        result[name] = torch.stack(scores).mean().item()
    return result


def _save(run: _Run, out: Path) -> None:
    """Write the log and the state."""
    columns = ["step", "seconds", "learning_rate", "loss", "val_dice", "val_dice_required_only"]
    with (out / LOG).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(run.log)
    facts = {"step": run.step, "seconds": run.seconds, "log": run.log, "schedule": run.schedule.state_dict()}
    facts["schedule"].pop("lr_lambdas", None)
    save_state(out / STATE, facts, run.modules, run.optimiser, (run.sampler, run.noise))


def _card(
    name: str,
    data_set: DataSet,
    channels: tuple[Channel, ...],
    settings: NetworkConfig,
    prepare: PrepareConfig,
    run: _Run,
) -> Card:
    """Return the card of the finished run."""
    scored = next((row for row in reversed(run.log) if "val_dice" in row), {})
    return Card(
        name=name,
        version="1.0",
        network=settings,
        prepare=prepare,
        channels=channels,
        labels=tuple(
            LabelSpec(value=value, name=label, color=COLORS[number % len(COLORS)])
            for number, (value, label) in enumerate(sorted(data_set.labels.items()))
        ),
        parameters=0,
        training_data=f"{data_set.folder.name}: {len(data_set.splits['train'])} train cases",
        training={
            "config": run.config.model_dump(),
            "seconds": round(run.seconds, 1),
            "device": torch.cuda.get_device_name() if run.device.type == "cuda" else run.device.type,
            "versions": {"python": platform.python_version(), **{p: version(p) for p in ("torch", "monai", "numpy")}},
        },
        metrics=_metrics(scored, len(data_set.splits["val"])),
    )


def _metrics(scored: Mapping[str, float], cases: int) -> dict[str, Any]:
    """Return the last scores with their protocol."""
    protocol = f"{cases} val patients, mean per-patient Dice over whole stacks, threshold 0.5, any label"
    return {
        key: {"value": round(scored[key], 4), "protocol": protocol}
        for key in ("val_dice", "val_dice_required_only")
        if key in scored
    }
