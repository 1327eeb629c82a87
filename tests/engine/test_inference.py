"""Running slices: batches that are about alike, classes, and when a graph is worth it."""

import pytest
import torch

import mambaseg.memory as memory_module
from mambaseg.inference import classes_of
from mambaseg.jobs import Job
from mambaseg.memory import BATCH
from mambaseg.predict import with_background
from mambaseg.predictor import Predictor
from mambaseg.segment import segment


@pytest.fixture
def sent(monkeypatch):
    """The batches that were run: how many slices of how many, and whether a graph was worth it."""
    real, batches = Predictor.logits, []

    def logits(self, prepared, index, device, size, graph):
        batches.append((len(index), size, graph))
        return real(self, prepared, index, device, size, graph)

    monkeypatch.setattr(Predictor, "logits", logits)
    monkeypatch.setattr(memory_module, "PIXELS", 36 * 40)
    return batches


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (4, [(3, 3, True), (3, 3, True)]),
        (2, [(2, 2, True)] * 3),
        (5, [(3, 3, True), (3, 3, True)]),
        (6, [(6, 6, False)]),
    ],
)
def test_batches_are_about_alike_and_two_are_worth_a_graph(volume, small_model, sent, monkeypatch, most, expected):
    monkeypatch.setitem(BATCH, "cpu", most)
    Job(lambda: segment(volume, small_model)).run()
    assert sent == expected


def test_one_slice_is_no_full_batch(volume, small_model, sent):
    Job(lambda: segment(volume, small_model, only_slice=3)).run()
    assert sent == [(1, 1, False)]


@pytest.mark.parametrize("labels", [1, 3])
def test_the_class_is_the_most_probable_one(labels):
    logits = torch.randn(2, labels, 5, 7, generator=torch.Generator().manual_seed(0))
    expected = with_background(logits).softmax(dim=1).argmax(dim=1)
    found = classes_of(logits)
    assert found.dtype == torch.uint8
    assert torch.equal(found.long(), expected)


def test_a_tie_with_the_background_is_background():
    assert not classes_of(torch.zeros(1, 2, 3, 5)).any()
    assert not classes_of(torch.full((1, 1, 3, 5), -1.0)).any()
