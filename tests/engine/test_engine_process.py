"""The engine in a real child process: the same results, cancel, and every way that a child can be lost."""

import os
import signal
import sys
import time

import numpy as np
import pytest
import torch

from mambaseg import engine_child
from mambaseg.checkpoint import load_checkpoint, make_checkpoint, save_checkpoint
from mambaseg.engine_process import EngineProcess
from mambaseg.errors import DeviceError, EngineFaultError, EngineLostError, FileError, ModelError
from mambaseg.jobs import Job, JobCancelled
from mambaseg.segment import segment
from mambaseg.segmentation import SegmentRequest
from mambaseg.volume import StoredSpace, Volume

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
OBLIQUE = np.array([[1.9, -0.3, 0.1, -90], [0.3, 1.9, 0.2, -126], [-0.1, -0.2, 2.1, 1 / 3], [0, 0, 0, 1.0]])
STORED = StoredSpace(1, 1, 2, (-1.0, *(1 / 3,) * 7), (0.1, 0.2, 0.3), (-9.0, -1.0, 1 / 3), (0.5,) * 12)


@pytest.fixture(scope="module")
def engine():
    shared = EngineProcess()
    yield shared
    shared.close()


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder of temporary files, where nothing may be left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


@pytest.fixture
def model(small_model, tmp_path):
    save_checkpoint(small_model, tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def request_of(model, volume):
    return SegmentRequest(volume, str(model), with_uncertainty=True)


@pytest.fixture
def long_request(model, volume):
    """A run of so many steps that a test can do something in the middle."""
    return SegmentRequest(Volume(np.tile(volume.data, (1, 1, 1, 200)), volume.affine, ("flair",)), str(model))


def finish(steps):
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        return stop.value


def until(steps, stage):
    """Drive a task to the first step of a stage; returns the stages passed."""
    passed = []
    for step in steps:
        passed.append(step.stage)
        if step.stage == stage:
            return passed
    raise AssertionError(f"{stage} was not among {passed}")


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


def equal(found, expected):
    return (
        np.array_equal(found.labels.data, expected.labels.data)
        and np.array_equal(found.uncertainty.data, expected.uncertainty.data)
        and np.array_equal(found.labels.affine, expected.labels.affine)
        and (found.labels.stored, found.warnings) == (expected.labels.stored, expected.warnings)
        and dict(found.labels.labels) == dict(expected.labels.labels)
    )


@pytest.mark.parametrize(
    "view",
    [
        lambda v: v,
        lambda v: Volume(v.data[:, ::-1, :, ::-1], OBLIQUE, ("flair",), STORED),
        lambda v: Volume(v.data.transpose(0, 3, 1, 2).astype(">i2"), OBLIQUE[:, [2, 0, 1, 3]], ("a",), None, ("note",)),
    ],
    ids=["plain", "flipped and oblique", "transposed integers"],
)
def test_the_result_is_that_of_this_process(engine, temporary, volume, model, view):
    given = view(volume)
    found = finish(engine.segment(SegmentRequest(given, str(model), with_uncertainty=True)))
    assert equal(found, finish(segment(given, load_checkpoint(model), with_uncertainty=True)))
    assert found.uncertainty.data.max() > 0
    assert (found.model, found.version, found.device, found.backend) == ("tiny", "1.0", "cpu", "torch")


def test_the_same_child_runs_again_and_takes_up_a_changed_model(engine, temporary, request_of, small_model, model):
    first, pid, starts = finish(engine.segment(request_of)), engine.pid, engine.starts
    assert equal(finish(engine.segment(request_of)), first)
    network = small_model.network()
    with torch.no_grad():
        network.heads[0].bias.add_(1)
    save_checkpoint(make_checkpoint(small_model.card, network), model)
    changed = finish(engine.segment(request_of))
    assert equal(changed, finish(segment(request_of.volume, load_checkpoint(model), with_uncertainty=True)))
    assert not equal(changed, first)
    assert (engine.pid, engine.starts) == (pid, starts)


def test_one_slice_alone_is_run(engine, temporary, volume, model):
    found = finish(engine.segment(SegmentRequest(volume, str(model), only_slice=4, with_uncertainty=True)))
    assert found.uncertainty.data[0, ..., 4].any()
    assert not found.uncertainty.data[0, ..., :4].any()


def test_the_doctors_facts_come_with_their_text(engine, temporary):
    facts = finish(engine.examine())
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["device_name"] in facts["text"]


def test_the_users_errors_keep_their_kind_and_sentence(engine, temporary, volume, model):
    with pytest.raises(ModelError, match=r"there is no model 'brain'; choose from: brain-tumour"):
        finish(engine.segment(SegmentRequest(volume, "brain")))
    with pytest.raises(DeviceError, match=r"there is no device 'tpu'; choose from auto, cpu, cuda, mps"):
        finish(engine.segment(SegmentRequest(volume, str(model), device="tpu")))


def test_a_fault_of_ours_is_one_sentence_and_its_traceback_is_in_the_log(engine, temporary, caplog):
    with pytest.raises(EngineFaultError, match=r"the engine failed \(KeyError: 'sing'\); nothing was changed: run it"):
        finish(engine._ask("sing", lambda arrays: {}, lambda answer, arrays: answer))
    assert "Traceback (most recent call last)" in caplog.text


def test_a_full_disk_is_told_and_the_child_stays(engine, temporary, request_of, monkeypatch):
    finish(engine.segment(request_of))
    pid = engine.pid
    with monkeypatch.context() as patch:
        patch.setattr("mambaseg.messages._pieces", lambda array: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(FileError, match=r"is full: the engine needs 1 MB there; remove files or set TMPDIR"):
            finish(engine.segment(request_of))
    finish(engine.segment(request_of))
    assert engine.pid == pid


def test_a_cancelled_run_leaves_the_child_warm_and_the_next_run_right(
    engine, temporary, long_request, request_of, monkeypatch
):
    monkeypatch.setattr(engine_child, "GRACE", 30.0)
    expected = finish(engine.segment(request_of))
    pid, steps = engine.pid, engine.segment(long_request)
    assert until(steps, "segmenting")[0] == "sending"
    steps.close()
    assert engine.pid == pid
    assert equal(finish(engine.segment(request_of)), expected)
    assert engine.pid == pid


def test_a_job_is_cancelled_like_any_other(engine, temporary, long_request):
    job = Job(lambda: engine.segment(long_request))
    job.events.progressed.connect(lambda event: job.cancel() if event.stage == "segmenting" else None)
    with pytest.raises(JobCancelled):
        job.run()


def test_a_second_request_waits_for_its_turn_or_is_cancelled_while_it_waits(engine, temporary, request_of):
    first, second, third = (engine.segment(request_of) for _ in range(3))
    until(first, "segmenting")
    assert (next(second).stage, next(third).stage) == ("waiting", "waiting")
    second.close()
    assert finish(first).labels.shape == request_of.volume.shape
    assert finish(third).labels.shape == request_of.volume.shape


@needs_posix
def test_a_child_that_does_not_answer_is_killed_and_the_next_run_has_a_new_one(
    engine, temporary, long_request, request_of, monkeypatch
):
    monkeypatch.setattr(engine_child, "GRACE", 0.05)
    steps = engine.segment(long_request)
    until(steps, "segmenting")
    pid, starts = engine.pid, engine.starts
    os.kill(pid, signal.SIGSTOP)
    assert next(steps).stage == "segmenting"  # so does the window see that it is still alive
    steps.close()
    assert not engine.running
    assert gone(pid)
    steps = engine.segment(request_of)
    assert until(steps, "preparing")[0] == "starting"
    assert finish(steps).labels.shape == request_of.volume.shape
    assert engine.starts == starts + 1


@needs_posix
def test_a_child_that_is_killed_in_the_middle_is_told_and_the_next_run_has_a_new_one(
    engine, temporary, long_request, request_of
):
    steps = engine.segment(long_request)
    until(steps, "segmenting")
    os.kill(engine.pid, signal.SIGKILL)
    with pytest.raises(
        EngineLostError, match=r"ended in the middle \(SIGKILL: .* out of memory\); nothing was changed: run it again"
    ):
        finish(steps)
    assert not engine.running
    assert finish(engine.segment(request_of)).labels.shape == request_of.volume.shape


@needs_posix
def test_a_child_that_died_between_two_runs_is_not_missed(engine, temporary, request_of):
    finish(engine.segment(request_of))
    os.kill(engine.pid, signal.SIGKILL)
    while engine.running:
        time.sleep(0.01)
    assert engine.pid is None
    assert finish(engine.segment(request_of)).labels.shape == request_of.volume.shape
