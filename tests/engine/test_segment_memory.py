"""A GPU whose memory does not suffice: fewer slices at once, in the end the CPU, the same result."""

import weakref

import numpy as np
import pytest
import torch

import mambaseg.memory as memory_module
import mambaseg.segment as under_test
from mambaseg.device import choose_device
from mambaseg.jobs import Job
from mambaseg.memory import BATCH, Memory, where_it_fits
from mambaseg.predictor import Predictor
from mambaseg.segment import segment

OUT_OF_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
)


@pytest.fixture
def gpu_with_room(monkeypatch):
    """Pretend to have a GPU that holds no volume and `most` slices from call `later` on; all runs on the CPU."""
    real_prepare, real_logits = under_test.prepare, Predictor.logits

    def make(most, error=OUT_OF_MEMORY[0], later=0):
        tried = []

        def prepare(*arguments, device):
            if device.type == "cuda":
                raise error
            return real_prepare(*arguments, device=device)

        def logits(self, prepared, index, device, size, graph):
            tried.append((device.type, len(index)))
            assert not (graph and any(count > len(index) for _, count in tried))
            if device.type == "cuda" and len(tried) > later and len(index) > most:
                raise error
            return real_logits(self, prepared, index, torch.device("cpu"), size)

        monkeypatch.setattr(under_test, "choose_device", lambda name: torch.device("cuda"))
        monkeypatch.setattr(under_test, "prepare", prepare)
        monkeypatch.setattr(Predictor, "logits", logits)
        return tried

    return make


@pytest.fixture(autouse=True)
def _small_slices_count_as_full_ones(monkeypatch):
    monkeypatch.setattr(memory_module, "PIXELS", 36 * 40)


def run(volume, model):
    return Job(lambda: segment(volume, model, with_probabilities=True, with_uncertainty=True)).run()


def same(one, other):
    return (
        np.array_equal(one.labels.data, other.labels.data)
        and np.allclose(one.probabilities.data, other.probabilities.data, atol=1e-5)
        and np.allclose(one.uncertainty.data, other.uncertainty.data, atol=1e-5)
    )


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["cuda", "mps", "cublas"])
def test_a_full_gpu_gets_half_the_slices_until_they_fit(volume, small_model, gpu_with_room, error):
    whole = run(volume, small_model)
    tried = gpu_with_room(3, error)
    found = run(volume, small_model)
    assert tried == [("cuda", 6), ("cuda", 3), ("cuda", 3)]
    assert same(found, whole)
    assert found.device == "cuda"
    assert found.warnings == (*whole.warnings, "the GPU ran out of memory: 3 slices at once instead of 6")


def test_a_gpu_without_room_for_one_slice_leaves_all_to_the_cpu(volume, small_model, gpu_with_room):
    whole = run(volume, small_model)
    tried = gpu_with_room(0)
    found = run(volume, small_model)
    assert tried == [("cuda", 6), ("cuda", 3), ("cuda", 1), ("cpu", 3), ("cpu", 3)]
    assert same(found, whole)
    assert found.device == "cpu"
    assert found.warnings == (*whole.warnings, "the GPU ran out of memory: ran on the CPU instead")


def test_a_gpu_that_fills_up_in_the_middle_leaves_the_rest_to_the_cpu(volume, small_model, gpu_with_room, monkeypatch):
    whole = run(volume, small_model)
    monkeypatch.setitem(BATCH, "cuda", 2)
    tried = gpu_with_room(0, later=1)
    found = run(volume, small_model)
    assert tried == [("cuda", 2), ("cuda", 2), ("cuda", 1), ("cpu", 4)]
    assert same(found, whole)
    assert found.warnings == (*whole.warnings, "the GPU ran out of memory: 4 of 6 slices ran on the CPU instead")


def test_any_other_error_of_the_gpu_is_not_hidden(volume, small_model, gpu_with_room):
    gpu_with_room(0, RuntimeError("an illegal memory access was encountered"))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        run(volume, small_model)


def test_the_cpu_has_nowhere_to_go():
    def full(device):
        raise OUT_OF_MEMORY[0]

    with pytest.raises(torch.OutOfMemoryError):
        Memory(torch.device("cpu")).attempt(full, 4)


def test_a_batch_of_32_that_does_not_fit_is_said_to_be_8():
    memory = Memory(torch.device("cuda"))

    def room_for_8(device):
        if memory.batch > 8:
            raise OUT_OF_MEMORY[0]
        return memory.batch

    while memory.attempt(room_for_8, memory.batch) is None:
        pass
    assert memory.warnings(64) == ("the GPU ran out of memory: 8 slices at once instead of 32",)


def test_slices_four_times_as_large_run_a_fourth_at_once():
    assert Memory(torch.device("cuda"), memory_module.PIXELS).batch == BATCH["cuda"]
    assert Memory(torch.device("cuda"), 4 * memory_module.PIXELS).batch == BATCH["cuda"] // 4
    assert Memory(torch.device("cpu"), 1000 * memory_module.PIXELS).batch == 1


def test_what_does_not_fit_on_a_gpu_is_made_on_the_cpu():
    asked = []

    def make(device):
        asked.append(device.type)
        if device.type == "cuda":
            raise OUT_OF_MEMORY[0]
        return 7

    assert where_it_fits(torch.device("cuda"), make) == 7
    assert asked == ["cuda", "cpu"]


def test_another_error_while_making_is_not_hidden():
    def make(device):
        raise RuntimeError("an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        where_it_fits(torch.device("cuda"), make)


def test_nothing_holds_the_failed_batch_when_less_is_tried():
    memory, held = Memory(torch.device("cuda")), []

    def full(device):
        batch = torch.ones(3)
        held.append(weakref.ref(batch))
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert memory.attempt(full, 4) is None
    assert held[0]() is None


@pytest.mark.parametrize(
    ("error", "there"),
    [
        (torch.OutOfMemoryError("full"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("old driver"), False),
    ],
)
def test_a_full_gpu_is_there_and_one_with_an_old_driver_is_not(monkeypatch, error, there):
    def refuse(*arguments, **options):
        raise error

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", refuse)
    assert choose_device("auto").type == ("cuda" if there else "cpu")
