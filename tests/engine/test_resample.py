"""Slices at another pixel size: the same as SciPy's, which training used first."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from mambaseg.resample import resample

SLICES = np.random.default_rng(0).random((3, 22, 17), dtype=np.float32)


@pytest.mark.parametrize("factors", [(0.5, 0.45), (0.3, 1.0), (1.0, 0.9), (2.1, 2.5), (0.2, 3.0), (0.01, 0.5)])
def test_it_is_what_scipy_makes_of_it(factors):
    zoom = [max(factor, 1 / n) for factor, n in zip(factors, SLICES.shape[1:], strict=True)]
    smooth = ndimage.gaussian_filter(SLICES, (0, *(max(0.0, (1 / factor - 1) / 2) for factor in zoom)))
    expected = ndimage.zoom(smooth, (1, *zoom), order=1, grid_mode=True, mode="nearest")
    found = resample(torch.from_numpy(SLICES), factors)
    assert found.shape == expected.shape
    assert np.allclose(found.numpy(), expected, atol=2e-5)


def test_pieces_of_a_large_volume_fit_together(monkeypatch):
    whole = resample(torch.from_numpy(SLICES), (0.5, 2.0))
    monkeypatch.setattr("mambaseg.resample.PIECE", 1)
    assert torch.allclose(resample(torch.from_numpy(SLICES), (0.5, 2.0)), whole, atol=1e-6)


def test_slices_of_the_right_size_are_not_copied():
    slices = torch.from_numpy(SLICES)
    assert resample(slices, (1.0, 1.0)) is slices
