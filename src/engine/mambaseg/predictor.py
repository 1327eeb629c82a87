"""A network on its device, kept ready: prepared slices in, logits out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from mambaseg.graph import Replay
from mambaseg.network.deploy import deploy
from mambaseg.slice_batch import SliceBatch

if TYPE_CHECKING:
    from mambaseg.network import SegmentationNetwork
    from mambaseg.prepare import Prepared


class Predictor:
    """Runs one network over slices, batch by batch.

    Parameters
    ----------
    network
        Its copies run, each made for one device and for the channels that a volume has; the last one is kept.
    device
        Where it is meant to run.
    backend
        The scan's back end there.
    """

    def __init__(self, network: SegmentationNetwork, device: torch.device, backend: str) -> None:
        self.network = network
        self.network.use_back_end(backend)
        self._meant_for = device
        self.fell_back = False
        """Whether the network had to run on the CPU instead."""
        self._deployed: SegmentationNetwork | None = None
        self._deployed_for: tuple[torch.device, tuple[int, ...]] | None = None
        self._batch: SliceBatch | None = None
        self._replay: Replay | None = None
        self._fits: object = None
        """The shape that batch and graph were made for."""

    def logits(
        self, prepared: Prepared, index: Int[Tensor, "b"], device: torch.device, size: int, graph: bool = False
    ) -> Float[Tensor, "b label y x"]:
        """Return the logits of slices, at the pixels of the volume.

        Parameters
        ----------
        prepared
            The volume.
        index
            Which slices, `size` at most.
        device
            Where to run. Slices that lie elsewhere are sent there.
        size
            Slices in a full batch; all batches of a volume share their memory.
        graph
            Whether it is worth to record a CUDA graph, because more batches of this shape will follow.
        """
        rows, columns = prepared.slices.shape[2:]
        network = self._network_for(prepared, device)
        with torch.inference_mode():
            batch = self._batch_for(prepared, size, network.dtype)
            batch.fill(prepared, index)
            logits = self._run(network, batch, len(index), device, graph)[..., :rows, :columns]
            if (rows, columns) != prepared.undo.plane:
                logits = F.interpolate(logits, size=prepared.undo.plane, mode="bilinear", align_corners=False)
            return logits

    def _network_for(self, prepared: Prepared, device: torch.device) -> SegmentationNetwork:
        """Return the network made for a device and for a volume's channels."""
        wanted = device, prepared.given
        if self._deployed is None or self._deployed_for != wanted:
            self._deployed = self._deployed_for = self._replay = None  # Let go first: both may not fit.
            if device.type == "cpu" and self._meant_for.type != "cpu":
                self.network.use_back_end("torch")  # What runs on a GPU may run only there.
                self.fell_back = True
            self._deployed, self._deployed_for = deploy(self.network, device, prepared.present), wanted
        return self._deployed

    def _batch_for(self, prepared: Prepared, size: int, dtype: torch.dtype) -> SliceBatch:
        """Return the memory of a batch; a new one if the last was of another shape."""
        multiple, device = self.network.multiple, prepared.slices.device
        rows, columns = (n + -n % multiple for n in prepared.slices.shape[2:])
        fits = size, rows, columns, device, dtype
        if self._batch is None or self._fits != fits:
            self._batch = self._replay = None
            channels, neighbours = len(prepared.present), self.network.config.neighbours
            self._batch = SliceBatch(size, (rows, columns), channels, neighbours, device, dtype)
            self._fits = fits
        return self._batch

    def _run(
        self, network: SegmentationNetwork, batch: SliceBatch, count: int, device: torch.device, graph: bool
    ) -> Tensor:
        """Run the network over the first `count` slices of a batch."""
        if not batch.slices.is_cuda or not (graph or self._replay):
            return _forward(network, batch.slices[:count].to(device), batch.present[:count].to(device))
        self._replay = self._replay or Replay(partial(_forward, network, batch.slices, batch.present))
        return self._replay()[:count]


def _forward(network: SegmentationNetwork, slices: Tensor, present: Tensor) -> Tensor:
    logits: Tensor = network(slices, present)[0].float()
    return logits
