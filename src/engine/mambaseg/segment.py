"""Segment a volume with a checkpoint: the main task."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch

from mambaseg.device import choose_device
from mambaseg.errors import VolumeError
from mambaseg.jobs import Progress
from mambaseg.memory import Memory
from mambaseg.normalise import TISSUE
from mambaseg.predict import channels_last, gather, probabilities
from mambaseg.prepare import prepare
from mambaseg.scan import choose_back_end
from mambaseg.segmentation import Segmentation
from mambaseg.uncertainty import CHANNEL, uncertainty
from mambaseg.volume import Label, LabelMap, Volume

if TYPE_CHECKING:
    from collections.abc import Generator

    from mambaseg.checkpoint import Checkpoint
    from mambaseg.network import SegmentationNetwork
    from mambaseg.prepare import Prepared

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
    prepared = prepare(named, card.channels, card.prepare)
    wanted = _slices(prepared, only_slice)
    network = channels_last(checkpoint.network())
    network.use_back_end(scan_on)
    between = time.perf_counter()
    memory = Memory(chosen)
    result = yield from _predict(network, prepared, wanted, memory, with_probabilities, with_uncertainty)
    found = time.perf_counter()
    values = np.array([0, *(label.value for label in card.labels)])
    dtype = np.uint8 if values.max() < 256 else np.uint16
    names = tuple(label.name for label in card.labels)
    labels = MappingProxyType({label.value: Label(label.name, label.color) for label in card.labels})
    mask = prepared.undo.restore(values.astype(dtype)[result.classes])
    return Segmentation(
        labels=LabelMap(mask, volume.affine, labels, volume.stored),
        probabilities=_on_grid(result.soft, names, volume, prepared),
        uncertainty=_on_grid(result.unsure, (CHANNEL,), volume, prepared),
        model=card.name,
        version=card.version,
        device=memory.device.type,
        backend=scan_on if memory.device.type == chosen.type else "torch",
        threads=torch.get_num_threads(),
        seconds={"prepare": between - begun, "network": found - between},
        warnings=(*prepared.warnings, *memory.warnings(len(wanted))),
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


def _slices(prepared: Prepared, only_slice: int | None) -> torch.Tensor:
    """Return which slices to run: the one asked for, or all that show tissue."""
    if only_slice is not None:
        return torch.tensor([prepared.undo.slice_position(only_slice)])
    tissue = (prepared.slices > TISSUE).any(axis=(0, 2, 3))
    return torch.from_numpy(np.flatnonzero(tissue))


def _on_grid(
    maps: np.ndarray | None, names: tuple[str, ...], volume: Volume, prepared: Prepared
) -> Volume | None:
    """Return maps over the crop as channels on the volume's own grid."""
    if maps is None:
        return None
    return Volume(np.stack([prepared.undo.restore(one) for one in maps]), volume.affine, names, volume.stored)


@dataclass(frozen=True, eq=False)
class _Found:
    """What the network found, of a batch or the whole crop; None if not asked for."""

    classes: np.ndarray
    """Indices, [z y x]."""
    soft: np.ndarray | None
    """Probabilities, [label z y x]."""
    unsure: np.ndarray | None
    """Uncertainty, [1 z y x]."""

    def put(self, index: torch.Tensor, batch: _Found) -> None:
        """Fill in the slices of a batch."""
        self.classes[index] = batch.classes
        if self.soft is not None and batch.soft is not None:
            self.soft[:, index] = batch.soft
        if self.unsure is not None and batch.unsure is not None:
            self.unsure[:, index] = batch.unsure


def _predict(
    network: SegmentationNetwork, prepared: Prepared, wanted: torch.Tensor, memory: Memory, keep: bool, measure: bool
) -> Generator[Progress, None, _Found]:
    """Run the slices batch by batch, as many at once as memory allows."""
    plane, depth = prepared.undo.plane, prepared.slices.shape[1]
    slices, present = torch.from_numpy(prepared.slices), torch.from_numpy(prepared.present)
    whole = _Found(
        np.zeros((depth, *plane), dtype=np.uint8),
        np.zeros((network.config.labels, depth, *plane), dtype=np.float32) if keep else None,
        np.zeros((1, depth, *plane), dtype=np.float32) if measure else None,
    )

    def run(index: torch.Tensor, device: torch.device) -> _Found:
        if device.type == "cpu" and first.type != "cpu":
            network.use_back_end("torch")  # What ran on the GPU may run only there.
        batch = gather(slices, index, network.config.neighbours, prepared.step).to(device)
        there = present.to(device).expand(len(index), -1)
        result = probabilities(network.to(device), batch, there, network.multiple, plane)
        return _Found(
            result.argmax(dim=1).to(torch.uint8).cpu().numpy(),
            result[:, 1:].transpose(0, 1).cpu().numpy() if keep else None,
            uncertainty(result)[None].cpu().numpy() if measure else None,
        )

    done, first = 0, memory.device
    while done < len(wanted):
        index = wanted[done : done + memory.batch]
        found = memory.attempt(partial(run, index), len(index))
        if found is not None:
            whole.put(index, found)
            done += len(index)
            yield Progress("segmenting", done, len(wanted))
    return whole
