"""Ask a module of ours something in a process that did nothing before: its peak of memory is its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from mambaseg.errors import MambaSegError


def ask(module: str, arguments: list[str], what: str) -> dict[str, Any]:
    """Return the JSON object that `python -m module arguments` prints; `what` names it in an error.

    Raises
    ------
    MambaSegError
        If that process failed; its last line is told.
    """
    passive = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}  # as the command line does
    words = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=passive)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise MambaSegError(f"measuring {what} ended with code {done.returncode}: {last}") from None
    return found
