"""However napari ends, no process of ours stays behind; and it never loads torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from test_flow import alive

if TYPE_CHECKING:
    from pathlib import Path

WINDOW = """
import os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore")
import napari
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication
from mambaseg.synthetic import synthetic_brain
from napari_mambaseg import show
viewer = napari.Viewer()
show(viewer, synthetic_brain(seed=1, shape=(80, 96, 20), spacing_mm=(2.0, 2.0, 6.0)).volume)
_, widget = viewer.window.add_plugin_dock_widget("napari-mambaseg", "Mamba segmentation")
widget.segment.button.click()

def started():
    pid = widget.workplace.engine.pid
    if pid is None:
        return QTimer.singleShot(20, started)
    print("engine", pid, flush=True)
    END

QTimer.singleShot(20, started)
napari.run()
print("loaded", sorted({"torch", "monai"} & set(sys.modules)), flush=True)
"""
ENDS = {
    "the window is closed": "QTimer.singleShot(300, viewer.close)",
    "the window is closed after the run": (
        "check = lambda: viewer.close() if len(viewer.layers) == 4 else QTimer.singleShot(50, check); check()"
    ),
    "the application quits": "QTimer.singleShot(300, QApplication.instance().quit)",
    "sys.exit": "QTimer.singleShot(300, lambda: os._exit(3))",
    "a crash": "QTimer.singleShot(300, os.abort)",
    "kill -9": "QTimer.singleShot(300, lambda: os.kill(os.getpid(), signal.SIGKILL))",
}


@pytest.mark.parametrize("end", ENDS)
def test_no_process_stays_behind(end: str, tmp_path: Path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), "NAPARI_CONFIG": str(tmp_path / "napari.yaml")}
    child = subprocess.Popen(
        [sys.executable, "-c", WINDOW.replace("END", ENDS[end])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        out, err = child.communicate(timeout=120)
    finally:
        child.kill()
    pids = [int(line.split()[1]) for line in out.splitlines() if line.startswith("engine")]
    assert len(pids) == 1, err
    deadline = time.monotonic() + 10
    while alive(pids[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    if alive(pids[0]):
        os.kill(pids[0], signal.SIGKILL)
        raise AssertionError(f"the engine outlived napari: {err}")
    assert not list(temporary.glob("mambaseg*")), "a temporary folder stayed behind"
    if "loaded" in out:
        assert "loaded []" in out
    if end.startswith("the window is closed"):
        assert "loaded []" in out, err
        assert "Traceback" not in err
