"""The network's input: neighbours, borders, channels that do not exist, memory that is used again."""

import numpy as np
import torch

from mambaseg.orientation import Orientation
from mambaseg.prepare import Prepared, Undo
from mambaseg.slice_batch import SliceBatch


def prepared(present, depth=5, rows=3, columns=2, step=2, offset=0):
    """Slices that show their own number, a hundred more for each channel."""
    numbers = torch.arange(depth, dtype=torch.float32)[None] + 100 * torch.arange(1, int(sum(present)) + 1)[:, None]
    slices = (numbers + offset)[:, :, None, None].expand(-1, -1, rows, columns).contiguous()
    undo = Undo((columns, rows, depth), Orientation((2, 1, 0), ()), np.s_[0:rows], np.s_[0:columns])
    return Prepared(slices, torch.tensor(present), step, undo, ())


def batch(size=2, channels=3):
    return SliceBatch(size, (4, 4), channels, 1, torch.device("cpu"), torch.float32)


def test_slices_come_with_neighbours_and_at_the_border_are_their_own():
    one = batch()
    one.fill(prepared([1.0, 0.0, 1.0]), torch.tensor([1, 4]))
    shown = one.slices[:, :, 0, 0].tolist()
    assert shown == [[100, 101, 103, 0, 0, 0, 200, 201, 203], [102, 104, 104, 0, 0, 0, 202, 204, 204]]
    assert one.present.tolist() == [[1, 0, 1], [1, 0, 1]]


def test_it_is_padded_with_air():
    one = batch()
    one.fill(prepared([1.0, 1.0, 1.0]), torch.tensor([0, 1]))
    assert one.slices[:, :, :3, :2].all()
    assert not one.slices[:, :, 3].any()
    assert not one.slices[..., 2:].any()


def test_channels_lie_last_in_memory():
    assert batch().slices.is_contiguous(memory_format=torch.channels_last)


def test_nothing_is_left_of_a_volume_with_more_channels_or_larger_slices():
    used, fresh = batch(), batch()
    used.fill(prepared([1.0, 1.0, 1.0], rows=4, columns=4), torch.tensor([2, 3]))
    for one in (used, fresh):
        one.fill(prepared([0.0, 1.0, 0.0]), torch.tensor([2, 3]))
    assert torch.equal(used.slices, fresh.slices)
    assert torch.equal(used.present, fresh.present)


def test_a_last_batch_may_have_fewer_slices():
    one = batch(size=3)
    one.fill(prepared([1.0, 0.0, 0.0]), torch.tensor([0, 1, 2]))
    one.fill(prepared([1.0, 0.0, 0.0]), torch.tensor([3]))
    assert one.slices[:, 1, 0, 0].tolist() == [103, 101, 102]
