"""One step of gradient descent, also as a CUDA graph: launching its thousand kernels takes longer than running them.

A graph replays what was captured, on the memory it was captured with: batches are copied into it, the learning rate
is a tensor, and nothing in a step may wait for the GPU.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mambaseg.predict import precision, with_background

if TYPE_CHECKING:
    from mambaseg.training_run import TrainingRun

logger = logging.getLogger(__name__)
Batch = tuple[Tensor, Tensor, Tensor]
"""Slices [b s y x], labels [b 1 y x], presence [b channel]."""
_ORDINARY = 3
"""Steps before the capture: kernels are compiled and chosen in them, and the optimiser makes its state."""


class Learner:
    """Move a run's weights batch by batch.

    Parameters
    ----------
    run
        Its network, average and optimiser are moved.
    loss_of
        Maps logits with background and labels to a loss.
    graphs
        False keeps to ordinary steps (for comparison); without CUDA there are no others.
    """

    def __init__(self, run: TrainingRun, loss_of: nn.Module, graphs: bool = True) -> None:
        self._run, self._loss_of = run, loss_of
        self._graphs = graphs and run.device.type == "cuda"
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: Batch | None = None
        self._loss = torch.zeros((), device=run.device)
        self._taken = 0
        self._has_dropout = any(isinstance(module, nn.Dropout) for module in run.network.modules())

    @property
    def is_graph(self) -> bool:
        """Whether steps are replayed."""
        return self._graph is not None

    def learn(self, batch: Batch) -> Tensor:
        """Take one step and return the loss, without waiting for the device."""
        self._run.set_rate()
        if self._has_dropout:  # Else torch's own generator is left to the caller.
            self._run.seed_dropout()
        self._taken += 1
        if not self._graphs or self._taken <= _ORDINARY:
            loss = self._step(batch)
            self._run.update_average()
            return loss
        if self._graph is None:
            self._capture(batch)
        if self._graph is None or self._inputs is None:
            return self.learn(batch)
        for kept, new in zip(self._inputs, batch, strict=True):
            kept.copy_(new)
        self._graph.replay()
        return self._loss.clone()

    def _capture(self, batch: Batch) -> None:
        """Record a step; where that fails, say so once and go on without."""
        inputs = (batch[0].clone(), batch[1].clone(), batch[2].clone())
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize(self._run.device)
        try:
            with torch.cuda.graph(graph):
                self._loss = self._step(inputs)
                self._run.lerp_average()
        except RuntimeError as error:
            logger.warning("training goes on without CUDA graphs: %s", str(error).splitlines()[0])
            self._graphs = False
            return
        self._graph, self._inputs = graph, inputs

    def _step(self, batch: Batch) -> Tensor:
        """Forward, backward, and the optimiser."""
        run = self._run
        slices, labels, present = batch
        run.network.train()
        with precision(run.device):
            if run.device.type == "cuda":
                slices = slices.contiguous(memory_format=torch.channels_last)
            outputs = run.network(slices, present)
        loss = self._total(outputs, labels)
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(run.network.parameters(), run.config.clip_norm)
        run.optimiser.step()
        return loss.detach()

    def _total(self, outputs: list[Tensor], labels: Tensor) -> Tensor:
        """Add up the losses at each stride, in float32."""
        weights = self._run.config.deep_supervision[: len(outputs)]
        loss = torch.zeros((), device=labels.device)
        for weight, logits in zip(weights, outputs, strict=True):
            stride = labels.shape[-1] // logits.shape[-1]
            target = labels[..., ::stride, ::stride] if stride > 1 else labels
            loss = loss + weight * self._loss_of(with_background(logits.float()), target)
        return loss / sum(weights)
