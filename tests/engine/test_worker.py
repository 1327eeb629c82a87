"""The child's side: its streams, its model, how runs end."""

import json
import shutil
import subprocess
import sys
import tempfile

import pytest
import torch

from mambaseg.checkpoint import make_checkpoint, save_checkpoint
from mambaseg.errors import ModelError
from mambaseg.worker import LastModel, Worker

NOISY = """
import os
from mambaseg.worker import reserve_streams
requests, events = reserve_streams()
print("noise of Python", flush=True)
os.system("echo noise of another program; cat")
events.write(requests.readline())
"""


def sent(events):
    events.seek(0)
    return [json.loads(line) for line in events]


@pytest.fixture
def events():
    with tempfile.TemporaryFile() as stream:
        yield stream


@pytest.fixture
def worker(events):
    return Worker(events, events)


def test_what_libraries_print_and_read_stays_out_of_the_messages():
    found = subprocess.run([sys.executable, "-c", NOISY], input=b"a message\n", capture_output=True, check=True)
    assert found.stdout == b"a message\n"
    assert found.stderr.count(b"noise") == 2


def test_the_worker_can_be_loaded_without_torch():
    code = "import sys, mambaseg.worker; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_model_is_loaded_again_only_when_its_files_changed(small_model, tmp_path):
    save_checkpoint(small_model, tmp_path)
    last = LastModel()
    first = last.load(str(tmp_path))
    assert last.load(str(tmp_path)) is first
    network = small_model.network()
    with torch.no_grad():
        network.heads[0].bias.add_(1)
    save_checkpoint(make_checkpoint(small_model.card, network), tmp_path)
    assert last.load(str(tmp_path)).card.sha256 != first.card.sha256


def test_a_model_that_was_removed_is_not_served_from_memory(small_model, tmp_path):
    save_checkpoint(small_model, tmp_path / "tiny")
    last = LastModel()
    last.load(str(tmp_path / "tiny"))
    (tmp_path / "tiny" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"tiny holds no model.safetensors; install the model again"):
        last.load(str(tmp_path / "tiny"))
    shutil.rmtree(tmp_path / "tiny")
    with pytest.raises(ModelError, match=r"there is no model '.*tiny'; choose from"):
        last.load(str(tmp_path / "tiny"))


def test_a_run_that_is_cancelled_before_it_begins_is_confirmed_at_once_and_never_run(worker, events):
    worker._cancel(1)
    worker._answer({"request": "examine", "run": 1})
    assert sent(events) == [{"event": "cancelled", "run": 1}]


def test_a_run_stops_at_the_step_after_its_cancel(worker, events, monkeypatch):
    from mambaseg.jobs import Progress

    def steps(message):
        yield Progress("one", 0)
        worker._cancel(message["run"])
        yield Progress("two", 0)
        raise AssertionError("it went on")

    monkeypatch.setattr(worker, "_examine", steps)
    worker._answer({"request": "examine", "run": 3})
    assert [one["event"] for one in sent(events)] == ["progress", "cancelled"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("no such axis"), "ValueError: no such axis"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
    ],
    ids=["ours", "python", "torch"],
)
def test_a_fault_is_sent_with_its_traceback(worker, events, monkeypatch, error, words):
    def fail(message):
        raise error
        yield

    monkeypatch.setattr(worker, "_examine", fail)
    worker._answer({"request": "examine", "run": 1})
    (fault,) = sent(events)
    assert (fault["event"], fault["run"], fault["message"]) == ("fault", 1, words)
    assert "in fail" in fault["traceback"]


def test_an_error_of_the_users_is_sent_with_its_kind(worker, events, monkeypatch):
    def fail(message):
        raise ModelError("there is no model 'x'")
        yield

    monkeypatch.setattr(worker, "_examine", fail)
    worker._answer({"request": "examine", "run": 1})
    assert sent(events) == [{"event": "error", "kind": "ModelError", "message": "there is no model 'x'", "run": 1}]
