"""The same work again and again on CUDA, as one launch instead of hundreds."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)
_failed: list[torch.cuda.CUDAGraph] = []
"""Torch's allocator goes on asking a graph whose recording failed: such a one stays, and is the last."""


class Replay:
    """A function whose every call reads and writes the same memory, recorded as a CUDA graph at its second call.

    The result is overwritten by the next call. If recording fails, which is logged, the function runs as it is.
    """

    def __init__(self, run: Callable[[], Tensor]) -> None:
        self._run = run
        self._calls = 0
        self._recorded: tuple[Callable[[], None], Tensor] | None = None

    def __call__(self) -> Tensor:
        """Return the function's result."""
        self._calls += 1
        if self._calls == 1:
            return warm_up(self._run)
        if self._calls == 2:
            self._recorded = self._record()
        if self._recorded is None:
            return self._run()
        launch, result = self._recorded
        launch()
        return result

    def _record(self) -> tuple[Callable[[], None], Tensor] | None:
        if _failed:
            return None
        try:
            return record(self._run)
        except Exception as error:  # A kernel that cannot be recorded, a driver, memory: the function runs without.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        logger.warning("the network runs without a CUDA graph: %s", reason)
        return None


def warm_up(run: Callable[[], Tensor]) -> Tensor:
    """Run where it will be recorded: libraries then get what they make once, such as workspaces, beforehand."""
    side, here = _side_stream(), torch.cuda.current_stream()
    side.wait_stream(here)
    with torch.cuda.stream(side):
        result = run()
    here.wait_stream(side)
    result.record_stream(here)
    return result


def record(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Record without running; return what launches it, and where the result then lies."""
    graph, side = torch.cuda.CUDAGraph(), _side_stream()
    # The outer context brings the caller's stream back, which torch's own leaves undone if recording fails.
    _failed.append(graph)
    with torch.cuda.stream(side), torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
        result = run()
    _failed.remove(graph)
    return graph.replay, result


@cache
def _side_stream() -> torch.cuda.Stream:
    return torch.cuda.Stream()
