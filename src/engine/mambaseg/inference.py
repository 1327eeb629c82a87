"""Run a predictor over a volume's slices, as many at once as memory allows, and keep what was asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from mambaseg.jobs import Progress
from mambaseg.memory import where_it_fits
from mambaseg.normalise import TISSUE
from mambaseg.predict import with_background
from mambaseg.uncertainty import uncertainty

if TYPE_CHECKING:
    from collections.abc import Generator

    from mambaseg.memory import Memory
    from mambaseg.predictor import Predictor
    from mambaseg.prepare import Prepared


@dataclass(frozen=True, eq=False)
class Found:
    """What the network found in the crop; None if not asked for. Slices that did not run are background."""

    classes: UInt8[Tensor, "z y x"]
    """Indices; 0 is background."""
    soft: Float[Tensor, "label z y x"] | None
    """Probabilities."""
    unsure: Float[Tensor, "1 z y x"] | None
    """Uncertainty."""

    def put(self, index: Int[Tensor, "b"], logits: Float[Tensor, "b label y x"]) -> None:
        """Take in the logits of a batch of slices."""
        with torch.inference_mode():
            self._set(self.classes, 0, index, classes_of(logits))
            if self.soft is None and self.unsure is None:
                return
            shares = with_background(logits).softmax(dim=1)
            if self.soft is not None:
                self._set(self.soft, 1, index, shares[:, 1:].transpose(0, 1))
            if self.unsure is not None:
                self._set(self.unsure, 1, index, uncertainty(shares)[None])

    def cpu(self) -> Found:
        """Return the same on the CPU."""
        soft, unsure = (None if maps is None else maps.cpu() for maps in (self.soft, self.unsure))
        return Found(self.classes.cpu(), soft, unsure)

    @staticmethod
    def _set(whole: Tensor, dim: int, index: Tensor, batch: Tensor) -> None:
        whole.index_copy_(dim, index.to(whole.device), batch.to(whole.device))


def classes_of(logits: Float[Tensor, "b label y x"]) -> UInt8[Tensor, "b y x"]:
    """Return the most probable class: the label of the highest logit where it beats the background's, which is 0."""
    if logits.shape[1] == 1:
        return (logits[:, 0] > 0).to(torch.uint8)
    highest, label = logits.max(dim=1)
    return label.add_(1).masked_fill_(highest <= 0, 0).to(torch.uint8)


def slices_to_run(prepared: Prepared, only_slice: int | None) -> Int[Tensor, "n"]:
    """Return the slice asked for, or all that show tissue."""
    if only_slice is not None:
        return torch.tensor([prepared.undo.slice_position(only_slice)], device=prepared.slices.device)
    return (prepared.slices.amax(dim=(0, 2, 3)) > TISSUE).nonzero().flatten()


def infer(
    predictor: Predictor,
    prepared: Prepared,
    wanted: Int[Tensor, "n"],
    memory: Memory,
    keep: bool,
    measure: bool,
) -> Generator[Progress, None, Found]:
    """Run the slices `wanted`; `keep` probabilities, `measure` uncertainty."""
    here = prepared.slices.device
    found = where_it_fits(here, partial(_nothing, prepared, predictor.network.config.labels, keep, measure))
    done, size, running = 0, 0, _Running()
    while done < len(wanted):
        if memory.device.type == "cpu" and prepared.slices.is_cuda:  # The GPU is full: nothing of this run stays there.
            prepared, wanted, found = replace(prepared, slices=prepared.slices.cpu()), wanted.cpu(), found.cpu()
        size = size or _evenly(len(wanted) - done, memory.batch)
        index = wanted[done : done + size]
        graph = len(wanted) >= 2 * size and not memory.ran_out
        if memory.attempt(partial(_run, predictor, prepared, found, index, size, graph), len(index)) is None:
            size = 0
            continue
        done += len(index)
        if prepared.slices.is_cuda:
            running.follow()
        yield Progress("segmenting", done, len(wanted))
    return found


def _nothing(prepared: Prepared, labels: int, keep: bool, measure: bool, device: torch.device) -> Found:
    shape = prepared.slices.shape[1], *prepared.undo.plane
    return Found(
        torch.zeros(shape, dtype=torch.uint8, device=device),
        torch.zeros(labels, *shape, device=device) if keep else None,
        torch.zeros(1, *shape, device=device) if measure else None,
    )


def _run(
    predictor: Predictor,
    prepared: Prepared,
    found: Found,
    index: Tensor,
    size: int,
    graph: bool,
    device: torch.device,
) -> bool:
    found.put(index, predictor.logits(prepared, index, device, size, graph))
    return True


def _evenly(total: int, most: int) -> int:
    """Return how many slices to take at once so that all batches are about alike."""
    return math.ceil(total / math.ceil(total / most))


class _Running:
    """Lets one batch wait behind the one that runs on CUDA, no more: a task that is stopped ends soon then."""

    def __init__(self) -> None:
        self._before: torch.cuda.Event | None = None

    def follow(self) -> None:
        """Wait for the batch before the one that was just sent."""
        event = torch.cuda.Event()
        event.record()
        if self._before is not None:
            self._before.synchronize()
        self._before = event
