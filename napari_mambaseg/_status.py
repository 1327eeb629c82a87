"""The line at the bottom: what runs the model, and on what. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_mambaseg._screens import StatusScreen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mambaseg.segmentation import Segmentation


def status_screen(
    model: str, asked: str, facts: Mapping[str, Any] | None, last: Segmentation | None
) -> StatusScreen:
    """Say device, back end and model.

    Parameters
    ----------
    model
        Name and version of the chosen model, "" for none.
    asked
        The device that is asked for.
    facts
        The doctor's; None before the engine was started.
    last
        The last run, None before it.
    """
    model = model or "no model"
    if facts is None:
        tip = "The engine starts with the first run. Click to start it now and see what this machine has."
        return StatusScreen(f"Engine not started yet · {model}", False, tip)
    device = last.device if last is not None else ("cpu" if asked == "cpu" else facts["device"])
    backend = last.backend if last is not None else facts["backend"]
    if device == "cpu":
        if facts["device"] == "cpu":
            why = "no CUDA device found"
        else:
            why = "chosen" if asked == "cpu" else "the GPU was out of memory"
        return StatusScreen(f"CPU ({why}) · {backend} · {model}", True, "Click for all about this machine.")
    return StatusScreen(f"{facts['device_name']} · {backend} · {model}", False, "Click for all about this machine.")
