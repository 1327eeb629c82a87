"""How many slices a device takes at once, and what to do when its memory does not suffice."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
BATCH = {"cpu": 4, "mps": 8, "cuda": 32}
"""Slices of `PIXELS` at once: enough to fill the device, little enough to bound memory."""
PIXELS = 240 * 240
CPU = torch.device("cpu")


def where_it_fits(device: torch.device, make: Callable[[torch.device], T]) -> T:
    """Make something on a device, or on the CPU if the device's memory does not suffice."""
    try:
        return make(device)
    except RuntimeError as error:
        if device.type == "cpu" or not _ran_out(error):
            raise
    _let_go(device)  # Only here, outside the handler, does nothing hold what was half made.
    return make(CPU)


class Memory:
    """Where the next batch runs and how large it is; a GPU that ran out of memory gets half, in the end the CPU all."""

    def __init__(self, device: torch.device, pixels: int | None = None) -> None:
        """`pixels` is the size of one slice: the larger it is, the fewer slices run at once."""
        self.device = device
        self._pixels = pixels or PIXELS
        self.batch = self._most()
        self._refused: int | None = None
        """The first batch that was too large."""
        self._on_cpu = 0
        """Slices that had to run there."""

    def attempt(self, run: Callable[[torch.device], T], size: int) -> T | None:
        """Run a batch of `size` slices; None if memory ran out: try fewer, or the same on the device it is now.

        Raises
        ------
        RuntimeError
            Any other error, and the CPU's.
        """
        try:
            result = run(self.device)
        except RuntimeError as error:
            if self.device.type == "cpu" or not _ran_out(error):
                raise
        else:
            self._on_cpu += size if self._refused and self.device.type == "cpu" else 0
            return result
        # Only here, outside the handler, does nothing hold the failed batch any more.
        self._take_less(size)
        return None

    @property
    def ran_out(self) -> bool:
        """Whether a batch was too large."""
        return self._refused is not None

    def warnings(self, total: int) -> tuple[str, ...]:
        """Say in a sentence what was done for lack of memory while `total` slices ran."""
        if self._refused is None:
            return ()
        if self._on_cpu:
            share = "" if self._on_cpu == total else f"{self._on_cpu} of {total} slices "
            return (f"the GPU ran out of memory: {share}ran on the CPU instead",)
        slices = "slice" if self.batch == 1 else "slices"
        return (f"the GPU ran out of memory: {self.batch} {slices} at once instead of {self._refused}",)

    def _take_less(self, size: int) -> None:
        self._refused = self._refused or size
        _let_go(self.device)
        if size > 1:
            self.batch = size // 2
        else:
            self.device = CPU
            self.batch = self._most()

    def _most(self) -> int:
        return max(1, BATCH[self.device.type] * PIXELS // self._pixels)


def _let_go(device: torch.device) -> None:
    """Return to the driver what torch keeps for later."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _ran_out(error: RuntimeError) -> bool:
    """Whether a GPU's memory ran out: CUDA has an error of its own, MPS and cuBLAS only a text."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in text or "ALLOC_FAILED" in text
