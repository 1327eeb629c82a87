"""Segmenting in Python: the grid, channels, single slices, probabilities, stopping."""

import numpy as np
import pytest
import torch

from mambaseg.errors import DeviceError, VolumeError
from mambaseg.jobs import Job, JobCancelled, JobState
from mambaseg.segment import name_channels, segment
from mambaseg.volume import Volume


def run(*arguments, **options):
    return Job(lambda: segment(*arguments, **options)).run()


def test_the_mask_lies_on_the_volumes_own_grid(volume, small_model):
    found = run(volume, small_model)
    assert found.labels.shape == volume.shape
    assert np.array_equal(found.labels.affine, volume.affine)
    assert found.labels.data.dtype == np.uint8
    assert found.labels.labels[1].name == "tumour"
    assert (found.model, found.version, found.device, found.backend) == ("tiny", "1.0", "cpu", "torch")
    assert set(found.seconds) == {"prepare", "network"}


def test_the_mask_is_where_the_probability_is_above_one_half(volume, small_model):
    found = run(volume, small_model, with_probabilities=True)
    assert found.probabilities.channels == ("tumour",)
    assert found.probabilities.shape == volume.shape
    assert np.array_equal(found.labels.data > 0, found.probabilities.data[0] > 0.5)
    assert 0 < (found.probabilities.data[0] > 0.5).sum() < found.labels.data.size


def test_one_slice_is_the_same_as_that_slice_of_the_volume(volume, small_model):
    whole = run(volume, small_model, with_probabilities=True)
    one = run(volume, small_model, only_slice=4, with_probabilities=True)
    assert np.allclose(one.probabilities.data[..., 4], whole.probabilities.data[..., 4], atol=1e-5)
    assert not one.labels.data[..., :4].any()
    assert not one.labels.data[..., 5:].any()


def test_the_same_volume_gives_the_same_mask_twice(volume, small_model):
    assert np.array_equal(run(volume, small_model).labels.data, run(volume, small_model).labels.data)


def test_a_resampled_volume_gets_its_mask_at_its_own_pixels(volume, small_model):
    fine = Volume(np.repeat(np.repeat(volume.data, 2, 1), 2, 2), np.diag([-0.5, -0.5, 5.0, 1.0]), ("flair",))
    found = run(fine, small_model, with_probabilities=True).probabilities.data[0]
    coarse = run(volume, small_model, with_probabilities=True).probabilities.data[0]
    assert found.shape == (80, 72, 6)
    assert np.corrcoef(found[::2, ::2].ravel(), coarse.ravel())[0, 1] > 0.95


def test_the_callers_gradient_mode_is_untouched_between_steps(volume, small_model):
    for _ in segment(volume, small_model):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


def test_a_job_stops_between_two_batches(volume, small_model):
    job = Job(lambda: segment(volume, small_model))
    job.events.progressed.connect(lambda event: job.cancel() if event.stage == "segmenting" else None)
    with pytest.raises(JobCancelled):
        job.run()
    assert job.state is JobState.CANCELLED


def stack(*names):
    data = np.random.default_rng(0).random((len(names), 8, 9, 10), dtype=np.float32)
    return Volume(data, np.eye(4), names)


def test_channels_are_taken_by_name_then_by_order_then_the_required_one_alone(small_model):
    assert name_channels(stack("T1", "FLAIR"), small_model).channels == ("t1", "flair")
    assert name_channels(stack("a", "b", "c"), small_model).channels == ("flair", "t1", "t1c")
    assert name_channels(stack("case7"), small_model).channels == ("flair",)


def test_a_wrong_number_of_channels_is_refused_with_those_wanted(small_model):
    with pytest.raises(VolumeError, match=r"has 2 channels; the model .* takes 3 \(flair, t1, t1c\) or 1 \(flair\)"):
        name_channels(stack("a", "b"), small_model)


def test_an_unknown_channel_is_refused_with_those_known(small_model):
    with pytest.raises(VolumeError, match=r"has no channel 'dwi'; it knows flair, t1, t1c"):
        name_channels(stack("flair", "dwi"), small_model)


def test_cuda_asked_for_and_absent_is_refused(volume, small_model, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r"the device cuda is not available \(.*\); use --device auto or cpu"):
        run(volume, small_model, device="cuda")
    with pytest.raises(DeviceError, match=r"there is no device 'tpu'; choose from auto, cpu, cuda, mps"):
        run(volume, small_model, device="tpu")
