"""Segment a volume with a checkpoint: the main task."""

from __future__ import annotations

import math
import time
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from mambaseg.device import choose_device
from mambaseg.errors import VolumeError
from mambaseg.inference import infer, slices_to_run
from mambaseg.jobs import Progress
from mambaseg.memory import Memory, where_it_fits
from mambaseg.prepare import Undo, prepare
from mambaseg.scan import choose_back_end
from mambaseg.segmentation import Segmentation
from mambaseg.transfer import to_host
from mambaseg.uncertainty import CHANNEL
from mambaseg.volume import Label, LabelMap, Volume
from mambaseg.warm import borrow_predictor

if TYPE_CHECKING:
    from collections.abc import Generator

    from mambaseg.checkpoint import Checkpoint


def segment(
    volume: Volume,
    checkpoint: Checkpoint,
    device: str = "auto",
    backend: str = "auto",
    only_slice: int | None = None,
    with_probabilities: bool = False,
    with_uncertainty: bool = False,
) -> Generator[Progress, None, Segmentation]:
    """Segment a volume; a task that yields Progress after each batch of slices and can be stopped there.

    Parameters
    ----------
    volume
        Channels under the model's names, or as many channels as the model has in its order, or its required one only.
    checkpoint
        What `load_model` returns.
    device
        "auto" (CUDA, else MPS, else CPU), "cpu", "cuda" or "mps".
    backend
        The scan's back end: "auto" or a name from `mambaseg doctor`.
    only_slice
        Segment this slice alone, counted along the volume's own axial axis; the rest stays background.
    with_probabilities
        Also return a probability for each label.
    with_uncertainty
        Also return how unsure the network is of each voxel.

    Returns
    -------
    Segmentation
        The label map has the volume's shape and affine. Where the GPU's memory did not suffice, `warnings` says what
        was done instead.

    Raises
    ------
    VolumeError
        If channels do not fit the model, or a required one has no usable values.
    DeviceError
        If a device or back end was asked for that this machine does not have.

    Examples
    --------
    >>> found = Job(lambda: segment(read("flair.nii.gz"), load_model())).run()  # doctest: +SKIP
    """
    card, chosen = checkpoint.card, choose_device(device)
    scan_on = choose_back_end(backend, chosen)
    named = name_channels(volume, checkpoint)
    yield Progress("preparing", 0)
    begun = time.perf_counter()
    # Only CUDA prepares faster than the CPU does, and only there was it tried.
    near = chosen if chosen.type == "cuda" else torch.device("cpu")
    prepared = where_it_fits(near, lambda there: prepare(named, card.channels, card.prepare, device=there))
    wanted = slices_to_run(prepared, only_slice)
    undo, notes, total = prepared.undo, prepared.warnings, len(wanted)
    memory = Memory(chosen, math.prod(prepared.slices.shape[2:]))
    with borrow_predictor(checkpoint, chosen, scan_on) as predictor:
        between = time.perf_counter()
        task = infer(predictor, prepared, wanted, memory, with_probabilities, with_uncertainty)
        del prepared  # It is the task's now, which lets go of it when a GPU is full, and at its end.
        result = yield from task
    if result.classes.is_cuda:
        torch.cuda.synchronize()
    found = time.perf_counter()
    names = tuple(label.name for label in card.labels)
    return Segmentation(
        labels=_label_map(_on_grid(result.classes, undo), volume, checkpoint),
        probabilities=_maps(result.soft, undo, volume, names),
        uncertainty=_maps(result.unsure, undo, volume, (CHANNEL,)),
        model=card.name,
        version=card.version,
        device=memory.device.type,
        backend=scan_on if memory.device.type == chosen.type else "torch",
        threads=torch.get_num_threads(),
        seconds={"prepare": between - begun, "network": found - between},
        warnings=(*notes, *memory.warnings(total)),
    )


def name_channels(volume: Volume, checkpoint: Checkpoint) -> Volume:
    """Give a volume's channels the model's names, by name or else by order.

    Raises
    ------
    VolumeError
        If a name is unknown to the model or the number of channels does not fit.
    """
    card = checkpoint.card
    known = tuple(channel.name for channel in card.channels)
    required = tuple(channel.name for channel in card.channels if channel.required)
    given = tuple(name.lower() for name in volume.channels)
    if set(given) & set(known):
        unknown = [name for name in given if name not in known]
        if unknown:
            raise VolumeError(
                f"the model {checkpoint.title} has no channel {unknown[0]!r}; it knows {', '.join(known)}"
            )
        return volume.renamed(given)
    for names in (known, required):
        if len(given) == len(names):
            return volume.renamed(names)
    raise VolumeError(
        f"the volume has {len(given)} channels; the model {checkpoint.title} takes {len(known)} "
        f"({', '.join(known)}) or {len(required)} ({', '.join(required)})"
    )


def _on_grid(maps: Tensor, undo: Undo) -> np.ndarray:
    """Bring maps over the crop, [... z y x], to the volume's own grid and into the memory of the host."""
    return to_host(where_it_fits(maps.device, lambda there: undo.restore(maps.to(there))))


def _label_map(classes: UInt8[np.ndarray, "i j k"], volume: Volume, checkpoint: Checkpoint) -> LabelMap:
    """Return the label map of class indices."""
    card = checkpoint.card
    values = np.array([0, *(label.value for label in card.labels)])
    values = values.astype(np.uint8 if values.max() < 256 else np.uint16)
    mask = classes
    if not np.array_equal(values, np.arange(len(values))):
        mask = np.empty(classes.shape, values.dtype)
        for part, indices in zip(mask, classes, strict=True):  # at once NumPy would make eight bytes of each index
            np.take(values, indices, out=part)
    labels = MappingProxyType({label.value: Label(label.name, label.color) for label in card.labels})
    return LabelMap(mask, volume.affine, labels, volume.stored)


def _maps(maps: Tensor | None, undo: Undo, volume: Volume, names: tuple[str, ...]) -> Volume | None:
    """Return maps over the crop as channels on the volume's own grid."""
    return None if maps is None else Volume(_on_grid(maps, undo), volume.affine, names, volume.stored)
