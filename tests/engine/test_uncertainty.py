"""How unsure the network is: entropy as a share of the largest possible."""

import math

import numpy as np
import pytest
import torch

from mambaseg.jobs import Job
from mambaseg.segment import segment
from mambaseg.uncertainty import uncertainty


def test_it_is_0_where_one_class_is_certain_and_1_where_all_are_alike():
    certain, alike = torch.tensor([1.0, 0, 0]), torch.full((3,), 1 / 3)
    both = torch.stack([certain, alike]).T.reshape(1, 3, 1, 2)
    assert uncertainty(both).flatten().tolist() == pytest.approx([0, 1])


def test_two_classes_of_three_that_share_a_voxel_give_log_2_over_log_3():
    half = torch.tensor([0.5, 0.5, 0]).reshape(1, 3, 1, 1)
    assert uncertainty(half).item() == pytest.approx(math.log(2) / math.log(3))


def test_it_lies_on_the_volumes_own_grid_under_one_name(volume, small_model):
    found = Job(lambda: segment(volume, small_model, with_uncertainty=True, with_probabilities=True)).run()
    unsure, soft = found.uncertainty, found.probabilities.data[0].astype(np.float64)
    assert unsure.channels == ("uncertainty",)
    assert unsure.data.dtype == np.float32
    assert unsure.data.shape == (1, *volume.shape)
    assert np.array_equal(unsure.affine, volume.affine)
    run = soft > 0
    other = 1 - soft
    expected = -(soft * np.log2(soft, where=run, out=np.zeros_like(soft)))
    expected -= other * np.log2(other, where=other > 0, out=np.zeros_like(soft))
    assert np.allclose(unsure.data[0][run], expected[run], atol=1e-4)


def test_it_is_0_in_slices_that_were_not_run(volume, small_model):
    found = Job(lambda: segment(volume, small_model, only_slice=4, with_uncertainty=True)).run().uncertainty.data[0]
    assert found[..., 4].max() > 0.1
    assert not found[..., :4].any()
    assert not found[..., 5:].any()


def test_it_is_absent_unless_asked_for(volume, small_model):
    assert Job(lambda: segment(volume, small_model)).run().uncertainty is None
