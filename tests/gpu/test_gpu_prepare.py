"""On a machine with a CUDA GPU: what travels there and back, and a volume prepared there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mambaseg.jobs import Job
from mambaseg.normalise import percentile
from mambaseg.prepare import prepare
from mambaseg.registry import load_model
from mambaseg.segment import segment
from mambaseg.synthetic import synthetic_brain
from mambaseg.transfer import to_device, to_host

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
CUDA = torch.device("cuda")
NUMBERS = np.random.default_rng(0).integers(0, 255, (70, 90, 110))


@pytest.mark.parametrize("piece", [1, 50_000, 8_000_000])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", ">i2", "f4", "f8"])
def test_what_is_sent_there_comes_back(dtype, piece, monkeypatch):
    monkeypatch.setattr("mambaseg.transfer.PIECE", max(piece, 8))
    array = NUMBERS[:7, :9, :11].astype(dtype) if piece == 1 else NUMBERS.astype(dtype)
    for laid in (array, np.asfortranarray(array), array.transpose(1, 2, 0), array[:, ::-1], array[::2, :, ::3]):
        there = to_device(laid, CUDA)
        assert there.is_cuda
        assert np.array_equal(to_host(there), laid)


def test_an_empty_array_can_be_sent():
    assert to_host(to_device(np.empty((0, 3, 5), np.int16), CUDA)).shape == (0, 3, 5)


@pytest.mark.parametrize("share", [0.0, 1.0, 37.3, 50.0, 99.0, 100.0])
@pytest.mark.parametrize("count", [1, 2, 1000, 600_001])
def test_a_percentile_is_numpys(share, count):
    values = np.random.default_rng(1).random(count, dtype=np.float32)
    found = percentile(torch.from_numpy(values).cuda(), share)
    assert found == pytest.approx(float(np.percentile(values, share)), abs=1e-6)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 4.0), (0.5, 0.45, 4.0)])
def test_a_volume_is_prepared_as_on_the_cpu(spacing):
    brain = synthetic_brain(seed=1, shape=(150, 170, 30), spacing_mm=spacing, channels=("flair", "t1", "t1c")).volume
    card = load_model().card
    here = prepare(brain, card.channels, card.prepare)
    there = prepare(brain, card.channels, card.prepare, device=CUDA)
    assert there.slices.is_cuda
    assert (there.undo, there.step, there.given, there.warnings) == (here.undo, here.step, here.given, here.warnings)
    assert torch.allclose(there.slices.cpu(), here.slices, atol=2e-5)


def test_probabilities_and_uncertainty_are_the_cpus():
    brain = synthetic_brain(seed=1, shape=(150, 170, 30), spacing_mm=(1.0, 1.0, 4.0)).volume
    model = load_model()
    here, there = (
        Job(lambda d=d: segment(brain, model, d, with_probabilities=True, with_uncertainty=True)).run()
        for d in ("cpu", "cuda")
    )
    assert there.probabilities.data.flags["C_CONTIGUOUS"]
    assert np.abs(there.probabilities.data - here.probabilities.data).mean() < 2e-3
    assert np.abs(there.uncertainty.data - here.uncertainty.data).mean() < 5e-3
