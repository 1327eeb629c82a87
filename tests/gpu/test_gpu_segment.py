"""On a machine with a CUDA GPU: `make test-gpu`. The same mask as the CPU's, and what happens when memory runs out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from mambaseg.benchmark_volume import DATA, case_volume
from mambaseg.engine_process import EngineProcess
from mambaseg.jobs import Job
from mambaseg.registry import find_model, load_model
from mambaseg.segment import segment
from mambaseg.segmentation import SegmentRequest
from mambaseg.synthetic import synthetic_brain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mambaseg.segmentation import Segmentation
    from mambaseg.volume import Volume

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@pytest.fixture(scope="module")
def brain() -> Volume:
    return synthetic_brain(seed=0, shape=(240, 240, 40), spacing_mm=(1.0, 1.0, 4.0)).volume


@pytest.fixture(scope="module")
def on_cpu(brain: Volume) -> Segmentation:
    return Job(lambda: segment(brain, load_model(), device="cpu")).run()


@pytest.fixture
def little_memory(brain: Volume) -> Iterator[None]:
    """Leave torch what it holds already and a third of what a run takes on this GPU."""
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    Job(lambda: segment(brain, load_model(), device="cuda")).run()
    takes = torch.cuda.max_memory_allocated() - held
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + takes / 3) / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def same_share(one: Segmentation, other: Segmentation) -> float:
    return float((one.labels.data == other.labels.data).mean())


def test_the_gpu_draws_the_cpus_mask(brain: Volume, on_cpu: Segmentation):
    found = Job(lambda: segment(brain, load_model(), device="cuda")).run()
    assert found.device == "cuda"
    assert on_cpu.labels.data.any()
    assert same_share(found, on_cpu) >= 0.9999


def test_the_gpu_draws_the_cpus_mask_of_a_real_patient():
    if not (DATA / "brats2015").is_dir():
        pytest.skip("the real data set is not beside this checkout")
    patient, _ = case_volume()
    on_cpu, found = (
        Job(lambda device=device: segment(patient, load_model(), device=device)).run() for device in ("cpu", "cuda")
    )
    assert found.device == "cuda"
    assert on_cpu.labels.data.any()
    assert same_share(found, on_cpu) >= 0.9999


def test_with_little_memory_fewer_slices_go_at_once(brain: Volume, on_cpu: Segmentation, little_memory: None):
    found = Job(lambda: segment(brain, load_model(), device="cuda")).run()
    assert found.device == "cuda"
    said = [re.fullmatch(r".*: (\d+) slices? at once instead of (\d+)", warning) for warning in found.warnings]
    fewer, first = next(map(int, match.groups()) for match in said if match)
    assert fewer < first >= 32  # a batch of 32 slices of 240 x 240, or more of cropped ones
    assert same_share(found, on_cpu) >= 0.9999


def test_with_no_memory_the_cpu_does_it(brain: Volume, on_cpu: Segmentation):
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-5)
    try:
        found = Job(lambda: segment(brain, load_model(), device="cuda")).run()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert found.device == "cpu"
    assert any("on the CPU instead" in warning for warning in found.warnings)
    np.testing.assert_array_equal(found.labels.data, on_cpu.labels.data)


def test_the_child_process_uses_the_gpu(brain: Volume, on_cpu: Segmentation):
    engine = EngineProcess()
    try:
        found = Job(lambda: engine.segment(SegmentRequest(brain, str(find_model())))).run()
        facts = Job(engine.examine).run()
    finally:
        engine.close()
    assert found.device == facts["device"] == "cuda"
    assert facts["device_name"].startswith("GPU: ")
    assert same_share(found, on_cpu) >= 0.9999
