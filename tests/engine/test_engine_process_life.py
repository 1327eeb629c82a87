"""How the child's life hangs on its parent's: started late, gone with it, nothing left."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from mambaseg import engine_child
from mambaseg.checkpoint import save_checkpoint
from mambaseg.engine_process import EngineProcess
from mambaseg.errors import EngineLostError
from mambaseg.jobs import Job, JobCancelled
from mambaseg.segmentation import SegmentRequest
from mambaseg.volume import Volume

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
PARENT = """
import json, os, sys, threading, time
import numpy as np
from mambaseg.engine_process import EngineProcess
from mambaseg.jobs import Job
from mambaseg.segmentation import SegmentRequest
from mambaseg.volume import Volume

engine, reached = EngineProcess(), threading.Event()
data = np.random.default_rng(0).random((1, 40, 36, 1500), dtype=np.float32)
job = Job(lambda: engine.segment(SegmentRequest(Volume(data, np.eye(4), ("flair",)), sys.argv[1])))
job.events.progressed.connect(lambda event: reached.set() if event.stage == sys.argv[2] else None)
job.start()
reached.wait()
heavy = sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "monai", "napari", "qtpy"})
print(json.dumps({"pid": engine.pid, "heavy": heavy}), flush=True)
exec(sys.argv[3])
"""


def finish(steps):
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        return stop.value


def gone(pid):
    """Whether a process is gone, within a generous time; one that waits to be reaped is gone."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def model(small_model, tmp_path):
    save_checkpoint(small_model, tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def long_request(model, volume):
    return SegmentRequest(Volume(np.tile(volume.data, (1, 1, 1, 200)), volume.affine, ("flair",)), str(model))


@pytest.fixture
def parent(model, tmp_path):
    """Start a parent that says what it has once a run has come to `stage`, and then does `last`."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    started = []

    def start(stage, last):
        process = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(model), stage, last],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(folder)},
        )  # fmt: skip
        started.append(process)
        return process, json.loads(process.stdout.readline()), folder

    yield start
    for process in started:
        process.kill()
        process.communicate()


def empty(folder):
    """Whether a folder becomes empty within a generous time."""
    deadline = time.monotonic() + 20
    while any(folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(folder.iterdir())


@needs_posix
def test_a_parent_has_loaded_no_torch_and_when_killed_leaves_no_child_and_no_files(parent):
    process, said, folder = parent("segmenting", "time.sleep(600)")
    assert said["heavy"] == []
    assert any(folder.iterdir())
    process.send_signal(signal.SIGKILL)
    assert gone(said["pid"])
    assert empty(folder)


def test_a_parent_that_ends_in_the_middle_of_a_run_leaves_no_child_and_no_files(parent):
    process, said, folder = parent("starting", "")
    assert process.wait(20) == 0
    assert gone(said["pid"])
    assert empty(folder)


@needs_posix
def test_a_parent_that_crashes_leaves_no_child_and_no_files(parent):
    process, said, folder = parent("loading", "os.abort()")
    assert process.wait(20) == -signal.SIGABRT
    assert gone(said["pid"])
    assert empty(folder)


def test_nothing_is_started_before_the_first_request():
    engine = EngineProcess()
    assert (engine.running, engine.pid, engine.starts) == (False, None, 0)
    engine.segment(SegmentRequest(Volume(np.ones((1, 2, 3, 4)), np.eye(4), ("flair",)), "brain-tumour"))
    assert engine.starts == 0
    engine.close()


def test_a_forgotten_engine_takes_its_child_along(long_request):
    engine = EngineProcess()
    steps = engine.segment(long_request)
    next(steps)
    pid = engine.pid
    del steps, engine
    assert gone(pid)


def test_closed_in_the_middle_of_a_run_it_stays_closed(long_request):
    engine, running = EngineProcess(), threading.Event()
    jobs = [Job(lambda: engine.segment(long_request)) for _ in range(2)]
    jobs[0].events.progressed.connect(lambda event: running.set() if event.stage == "segmenting" else None)
    jobs[0].start()
    assert running.wait(60)
    jobs[1].start()
    pid = engine.pid
    engine.close()
    engine.close()
    for job in jobs:
        with pytest.raises(JobCancelled):
            job.result(timeout=20.0)
    assert gone(pid)
    with pytest.raises(JobCancelled, match="the engine was closed"):
        finish(engine.segment(long_request))
    assert (engine.pid, engine.running, engine.starts) == (None, False, 1)


def test_closed_while_it_starts_nothing_is_left(long_request):
    engine = EngineProcess()
    steps = engine.segment(long_request)
    assert next(steps).stage == "starting"
    pid = engine.pid
    engine.close()
    with pytest.raises(JobCancelled, match="the engine was closed"):
        finish(steps)
    assert gone(pid)


def test_a_child_that_ends_while_it_starts_is_told_with_its_last_words(long_request, monkeypatch, caplog):
    monkeypatch.setattr(engine_child, "COMMAND", ("-c", "import sys; sys.exit('there is no mambaseg here')"))
    engine = EngineProcess()
    with pytest.raises(
        EngineLostError, match=r"ended while it started \(exit code 1: there is no mambaseg here\); nothing was changed"
    ):
        finish(engine.segment(long_request))
    assert "there is no mambaseg here" in caplog.text
    engine.close()


def test_a_python_that_cannot_be_started_is_told(long_request, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "absent"))
    engine = EngineProcess()
    with pytest.raises(EngineLostError, match=r"could not be started \(No such file.*\); nothing was changed: check"):
        finish(engine.segment(long_request))
    assert engine.starts == 0
    engine.close()
