"""What a process that soon ends need not do: look for garbage among all that it imported.

torch alone makes some hundred thousand objects that all stay. Python's collector goes through them again and again
while they are made, and a last time at the end; `benchmarks/cold_start.py` shows what that takes.
"""

from __future__ import annotations

import atexit
import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def importing() -> Iterator[None]:
    """Do not look for garbage inside this block, and never again among what is there at its end.

    In a process that did so before, or where the collector is off, nothing is changed: a program that runs the command
    line again and again must not keep its garbage.
    """
    if not gc.isenabled() or gc.get_freeze_count():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def end_quickly() -> None:
    """Do not look for garbage when this process ends; what it holds goes back to the system anyway."""
    atexit.register(gc.freeze)
