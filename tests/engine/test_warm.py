"""The predictor that is kept from one run to the next."""

import dataclasses
import gc

import pytest
import torch

import mambaseg.warm as under_test
from mambaseg.jobs import Job
from mambaseg.prepare import prepare
from mambaseg.segment import segment
from mambaseg.warm import borrow_predictor

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _empty_shelf():
    under_test._kept.clear()
    yield
    under_test._kept.clear()


def borrow(checkpoint, backend="torch"):
    with borrow_predictor(checkpoint, CPU, backend) as predictor:
        return predictor


def test_the_same_checkpoint_gets_the_same_predictor(small_model):
    assert borrow(small_model) is borrow(small_model)


def test_another_back_end_gets_another(small_model):
    assert borrow(small_model) is not borrow(small_model, "reference")


def test_two_at_once_do_not_share_one(small_model):
    borrow(small_model)
    with borrow_predictor(small_model, CPU, "torch") as one, borrow_predictor(small_model, CPU, "torch") as other:
        assert one is not other


def test_one_that_failed_is_not_kept(small_model):
    with pytest.raises(ValueError, match="broken"), borrow_predictor(small_model, CPU, "torch") as predictor:
        raise ValueError("broken")
    assert borrow(small_model) is not predictor


def test_one_that_had_to_run_elsewhere_is_not_kept(volume, small_model):
    prepared = prepare(volume, small_model.card.channels, small_model.card.prepare)
    with borrow_predictor(small_model, torch.device("cuda"), "torch") as predictor:
        predictor.logits(prepared, torch.tensor([0]), CPU, 1)
    assert predictor.fell_back
    assert not under_test._kept


def test_a_run_that_is_stopped_leaves_it_for_the_next(volume, small_model):
    task = segment(volume, small_model)
    while next(task).stage != "segmenting":
        pass
    task.close()
    assert len(under_test._kept) == 1


def test_it_goes_with_its_checkpoint(small_model):
    copy = dataclasses.replace(small_model)
    borrow(copy)
    assert under_test._kept
    del copy
    gc.collect()
    assert not under_test._kept


def test_a_second_run_uses_it_and_draws_the_same_mask(volume, small_model):
    first = Job(lambda: segment(volume, small_model)).run()
    kept = under_test._kept[0][2]
    second = Job(lambda: segment(volume, small_model)).run()
    assert under_test._kept[0][2] is kept
    assert (first.labels.data == second.labels.data).all()
