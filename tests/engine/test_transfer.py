"""Arrays to a device and back: whatever their type, order and protection."""

import numpy as np
import pytest
import torch

from mambaseg.transfer import to_device, to_host

CPU = torch.device("cpu")
NUMBERS = np.arange(2 * 3 * 5).reshape(2, 3, 5)


@pytest.mark.parametrize("dtype", ["bool", "u1", "i1", "i2", "i4", "i8", "f2", "f4"])
def test_a_type_that_torch_knows_stays(dtype):
    there = to_device(NUMBERS.astype(dtype), CPU)
    assert there.numpy().dtype == dtype
    assert np.array_equal(there.numpy(), NUMBERS.astype(dtype))


@pytest.mark.parametrize("dtype", ["u2", "u4", "u8", "f8", ">u2", ">f8"])
def test_any_other_type_becomes_float32(dtype):
    there = to_device(NUMBERS.astype(dtype), CPU)
    assert there.dtype == torch.float32
    assert np.array_equal(there.numpy(), NUMBERS)


def test_the_other_byte_order_is_turned():
    assert np.array_equal(to_device(NUMBERS.astype(">i2"), CPU).numpy(), NUMBERS)


def test_what_float32_cannot_hold_becomes_infinite():
    assert to_device(np.array([1.0, 1e300]), CPU).tolist() == [1.0, float("inf")]


@pytest.mark.parametrize(
    "array",
    [NUMBERS, np.asfortranarray(NUMBERS), NUMBERS.transpose(1, 2, 0), NUMBERS[:, ::-1], NUMBERS[..., ::2]],
    ids=["C", "Fortran", "permuted", "flipped", "every second"],
)
def test_every_layout_gives_the_same_numbers(array):
    there = to_device(array, CPU)
    assert np.array_equal(there.numpy(), array)
    assert np.array_equal(to_host(there), array)
    assert to_host(there).flags["C_CONTIGUOUS"]


def test_an_array_in_fortran_order_is_not_copied():
    array = np.asfortranarray(NUMBERS)
    assert np.shares_memory(to_device(array, CPU).numpy(), array)


def test_a_protected_array_is_taken_and_left_alone():
    array = NUMBERS.copy()
    array.flags.writeable = False
    to_device(array, CPU).zero_()
    assert np.array_equal(array, NUMBERS)
