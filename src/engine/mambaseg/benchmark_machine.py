"""Where and with what a benchmark ran, as plain values; no paths and no host names."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mambaseg import __version__

_CHECKOUT = Path(__file__).parents[3]
_CPUS = Path("/proc/cpuinfo")
COMMIT = "MAMBASEG_COMMIT"
"""The environment variable that names the commit where a copy of the checkout runs without git."""


def provenance(command: str) -> dict[str, Any]:
    """Return the machine and how busy it is, versions, the commit of a checkout, the date and the command."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "command": command,
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": gpu},
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": version("numpy"),
            "mambaseg": __version__,
        },
        "commit": _commit(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu() -> str:
    """Return the CPU's name, where the system tells it."""
    lines = _CPUS.read_text().splitlines() if _CPUS.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str | None:
    """Return the commit of the checkout that runs; where git does not tell, what `COMMIT` says."""
    if not (_CHECKOUT / ".git").exists():
        return os.environ.get(COMMIT)
    words = ["git", "-C", str(_CHECKOUT), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
