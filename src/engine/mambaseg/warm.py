"""The predictor of the last run, kept for the next: making one takes longer than a small volume."""

from __future__ import annotations

import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mambaseg.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from mambaseg.checkpoint import Checkpoint

_lock = threading.RLock()
_kept: list[tuple[weakref.ref[Checkpoint], tuple[torch.device, str], Predictor]] = []
"""One at most; it goes when its checkpoint goes."""


@contextmanager
def borrow_predictor(checkpoint: Checkpoint, device: torch.device, backend: str) -> Iterator[Predictor]:
    """Lend a predictor of this very checkpoint, whose weights nobody may change in place.

    It is taken off the shelf meanwhile, so that two threads never share one.
    """
    predictor = _take(checkpoint, (device, backend)) or Predictor(checkpoint.network(), device, backend)
    try:
        yield predictor
    except Exception:  # What failed is not trusted again; a run that was cancelled (GeneratorExit) did not fail.
        raise
    except BaseException:
        _keep(checkpoint, (device, backend), predictor)
        raise
    _keep(checkpoint, (device, backend), predictor)


def _take(checkpoint: Checkpoint, key: tuple[torch.device, str]) -> Predictor | None:
    with _lock:
        found = [held for held in _kept if held[0]() is checkpoint and held[1] == key]
        _kept.clear()  # Another model's makes room for this one.
    return found[0][2] if found else None


def _keep(checkpoint: Checkpoint, key: tuple[torch.device, str], predictor: Predictor) -> None:
    if not predictor.fell_back:
        with _lock:
            _kept[:] = [(weakref.ref(checkpoint, _forget), key, predictor)]


def _forget(gone: weakref.ref[Checkpoint]) -> None:
    with _lock:
        _kept[:] = [held for held in _kept if held[0] is not gone]
