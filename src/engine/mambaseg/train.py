"""Train a network on a data set: a task that yields Progress, can be stopped at each step and resumed."""

from __future__ import annotations

import math
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from monai.losses import DiceCELoss
from torch import Tensor

from mambaseg.augment import Augment
from mambaseg.card import Card, Channel, LabelSpec
from mambaseg.checkpoint import Checkpoint, make_checkpoint, save_checkpoint
from mambaseg.config import MambaSeg2dConfig, NetworkConfig, PrepareConfig, TrainConfig
from mambaseg.data_set import DataSet, read_data_set
from mambaseg.device import choose_device
from mambaseg.errors import DataSetError
from mambaseg.folds import describe_fold, hold_out
from mambaseg.jobs import Progress
from mambaseg.learning import Learner
from mambaseg.recipe import recipe_sha256
from mambaseg.slice_bank import SliceBank, fill_bank
from mambaseg.training_run import TrainingRun, check_out, resume_run, save_run, start_run
from mambaseg.validate import validate

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

COLORS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
"""Okabe and Ito's palette, which colour-blind people can tell apart."""


def train(
    folder: Path | str,
    out: Path | str,
    network: NetworkConfig | None = None,
    config: TrainConfig | None = None,
    prepare: PrepareConfig | None = None,
    name: str = "model",
    device: str = "auto",
    resume: bool = False,
    fold: tuple[int, int] | None = None,
    over: str = "train",
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
    fold
        K and N: the patients of the K-th of N folds become `val`, the others `train` (`hold_out`).
    over
        What is divided into folds: the "train" cases, or "all".

    Raises
    ------
    DataSetError, VolumeError, FileError
        If the data cannot be trained on, or `out` holds a run and `resume` is False.
    """
    config, chosen, out = config or TrainConfig(), choose_device(device), Path(out)
    data_set = read_data_set(Path(folder))
    facts: dict[str, Any] = {}
    if fold is not None:
        data_set = hold_out(data_set, fold, over)
        facts["fold"] = describe_fold(data_set, fold, over)
    check_out(out, resume)
    channels = tuple(Channel(name=c, required=i == 0) for i, c in enumerate(data_set.channels))
    settings = (network or MambaSeg2dConfig()).model_copy(
        update={"channels": len(channels), "labels": len(data_set.labels)}
    )
    prepare = prepare or PrepareConfig()
    learn = yield from fill_bank(data_set, data_set.splits["train"], channels, prepare, chosen)
    check = yield from fill_bank(data_set, data_set.splits["val"], channels, prepare, chosen)
    if not learn.tumour.size:
        raise DataSetError(f"no train case of {folder} has a label; at least one must show what to learn")
    run = start_run(settings, config, chosen, recipe_sha256(config, prepare, data_set))
    if resume:
        resume_run(run, out)
    out.mkdir(parents=True, exist_ok=True)
    yield from _steps(run, learn, check, channels, out)
    card = _card(name, data_set, channels, settings, prepare, run, facts)
    return save_checkpoint(make_checkpoint(card, run.averaged), out)


def _steps(
    run: TrainingRun, learn: SliceBank, check: SliceBank, channels: tuple[Channel, ...], out: Path
) -> Generator[Progress, None, None]:
    """Learn step by step; save, score and report on the way."""
    config = run.config
    rows, columns = config.patch or (learn.images.shape[2], learn.images.shape[3])
    multiple = run.network.multiple
    patch = -(-rows // multiple) * multiple, -(-columns // multiple) * multiple
    optional = torch.tensor([not c.required for c in channels], device=run.device)
    augment = Augment(patch, optional, config.drop_optional, run.noise)
    loss_of = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)
    learner = Learner(run, loss_of)
    every = torch.arange(len(learn.images))
    recent = torch.zeros((), device=run.device)
    while run.step < config.steps:
        begun = time.perf_counter()
        index = _draw(run.sampler, every.numpy(), learn.tumour, config)
        batch = augment(*learn.batch(_sent(index, run.device), run.network.config.neighbours))
        recent = recent + learner.learn(batch)
        run.step += 1
        metrics: dict[str, float] = {}
        if run.step % 20 == 0 or run.step == config.steps:
            metrics["loss"] = recent.item() / (run.step % 20 or 20)
            if not math.isfinite(metrics["loss"]):
                raise DataSetError(f"the loss became {metrics['loss']} at step {run.step}; lower the learning rate")
            recent = torch.zeros((), device=run.device)
        if run.step % config.validate_every == 0 or run.step == config.steps:
            metrics.update(validate(run.averaged, check, optional))
        run.seconds += time.perf_counter() - begun
        if metrics:
            seconds = round(run.seconds, 1)
            run.log.append({"step": run.step, "seconds": seconds, "learning_rate": run.rate, **metrics})
        if run.step % config.checkpoint_every == 0 or run.step == config.steps:
            save_run(run, out)
        yield Progress("training", run.step, config.steps, metrics)


def _draw(sampler: np.random.Generator, every: np.ndarray, tumour: np.ndarray, config: TrainConfig) -> Tensor:
    """Draw slices, a share of them from those with a label."""
    from_tumour = round(config.batch * config.foreground)
    chosen = [sampler.choice(tumour, from_tumour), sampler.choice(every, config.batch - from_tumour)]
    return torch.from_numpy(np.concatenate(chosen))


def _sent(index: Tensor, device: torch.device) -> Tensor:
    """Bring indices to the device without waiting for what it still computes."""
    return index.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else index.to(device)


def _card(
    name: str,
    data_set: DataSet,
    channels: tuple[Channel, ...],
    settings: NetworkConfig,
    prepare: PrepareConfig,
    run: TrainingRun,
    facts: dict[str, Any],
) -> Card:
    """Return the card of the finished run; `facts` are further ones of its training."""
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
        training_data=f"{data_set.folder.name}: {len(data_set.splits['train'])} train cases{_of_fold(facts)}",
        training={
            "config": run.config.model_dump(),
            "recipe_sha256": run.recipe,
            **facts,
            "seconds": round(run.seconds, 1),
            "device": torch.cuda.get_device_name() if run.device.type == "cuda" else run.device.type,
            "versions": {"python": platform.python_version(), **{p: version(p) for p in ("torch", "monai", "numpy")}},
        },
        metrics=_metrics(scored, len(data_set.splits["val"])),
    )


def _of_fold(facts: Mapping[str, Any]) -> str:
    """Say which fold was held out, if one was."""
    fold = facts.get("fold")
    return f", all but fold {fold['number']}/{fold['of']} over {fold['over']}" if fold else ""


def _metrics(scored: Mapping[str, float], cases: int) -> dict[str, Any]:
    """Return the last scores with their protocol."""
    protocol = f"{cases} val patients, mean per-patient Dice over whole stacks, threshold 0.5, any label"
    return {
        key: {"value": round(scored[key], 4), "protocol": protocol}
        for key in ("val_dice", "val_dice_required_only")
        if key in scored
    }
