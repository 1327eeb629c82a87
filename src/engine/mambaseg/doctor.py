"""What `mambaseg doctor` prints: versions, devices, back ends, models and folders."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("napari-mambaseg", "torch", "monai", "nibabel", "numpy", "triton", "mamba-ssm", "napari", "PyQt5", "PyQt6",
            "PySide6")  # fmt: skip


_WORDS = {"device_name": "device in full", "cuda": "CUDA of torch", "backend": "back end", "backends": "back ends"}


def examine() -> dict[str, Any]:
    """Return what matters for running the engine on this machine, as plain values."""
    import torch

    from mambaseg.device import choose_device, describe_device
    from mambaseg.registry import SHIPPED, list_models, user_models
    from mambaseg.scan import choose_back_end, explain_back_ends

    device = choose_device()
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "device": device.type,
        "device_name": describe_device(device),
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "backend": choose_back_end("auto", device),
        "backends": explain_back_ends(device),
        "models": [f"{card.name} {card.version}" for card, _ in list_models()],
        "folders": {"shipped models": str(SHIPPED), "own models": str(user_models())},
    }


def in_words(facts: dict[str, Any]) -> str:
    """Return the facts as lines of text."""
    lines = [f"{facts['device_name']} · {facts['backend']} · {', '.join(facts['models']) or 'no model'}", ""]
    for key, value in facts.items():
        name = _WORDS.get(key, key)
        if isinstance(value, dict):
            lines += [f"{name}:", *(f"  {each}: {one or 'not installed'}" for each, one in value.items())]
        else:
            text = ", ".join(value) if isinstance(value, list) else value
            lines.append(f"{name}: {'none' if text is None else text}")
    return "\n".join(lines)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
