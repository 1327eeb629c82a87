"""segment_layers: the button's work from a script, with the real engine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from test_flow import alive

from mambaseg.errors import ModelError, VolumeError
from mambaseg.synthetic import synthetic_brain
from napari_mambaseg import segment_layers, show
from napari_mambaseg._engine import SHARED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel

    from mambaseg.volume import Volume


@pytest.fixture(scope="module")
def brain() -> Volume:
    return synthetic_brain(seed=1, shape=(80, 96, 20), spacing_mm=(2.0, 2.0, 6.0)).volume


@pytest.fixture
def filled(viewer: ViewerModel, brain: Volume) -> Iterator[ViewerModel]:
    show(viewer, brain, name="case7")
    yield viewer
    viewer.layers.clear()


def test_a_layer_by_name_gives_a_new_layer_with_the_mask(filled: ViewerModel):
    steps = []
    mask = segment_layers(filled, flair="case7 flair", model="brain-tumour", on_progress=steps.append)
    assert mask is filled.layers[-1]
    assert mask.name == "case7 flair · tumour"
    assert mask.data.any()
    assert steps[-1].stage == "segmenting"


def test_the_engine_stays_warm_until_the_last_layer_goes(filled: ViewerModel):
    segment_layers(filled)
    engine = SHARED._process
    pid = engine.pid
    segment_layers(filled, t1=None, uncertainty=True)
    assert engine.pid == pid
    assert filled.layers[-2].name == "case7 flair · uncertainty"
    filled.layers.clear()
    assert SHARED._process is None
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


def test_only_the_slice_that_the_viewer_stands_on(filled: ViewerModel):
    whole = segment_layers(filled)
    fullest = int((whole.data > 0).sum(axis=(1, 2)).argmax())
    filled.dims.set_current_step(0, fullest)
    one = segment_layers(filled, current_slice=True)
    assert [int(k) for k in np.flatnonzero((one.data > 0).any(axis=(1, 2)))] == [fullest]


def test_a_layer_that_is_not_there_is_one_sentence(filled: ViewerModel):
    with pytest.raises(VolumeError, match=r"there is no layer 'flair9'; open are case7 flair, case7 t1, case7 t1c"):
        segment_layers(filled, flair="flair9")


def test_a_channel_that_the_model_does_not_have_is_one_sentence(filled: ViewerModel):
    with pytest.raises(VolumeError, match=r"has no channel 't2'; it knows flair, t1, t1c"):
        segment_layers(filled, t2="case7 t1")


def test_a_model_that_is_not_there_is_one_sentence(filled: ViewerModel):
    with pytest.raises(ModelError, match="there is no model 'liver'"):
        segment_layers(filled, model="liver")


def test_a_mask_is_no_input(filled: ViewerModel):
    filled.add_labels(np.zeros((8, 9, 10), np.uint8), name="mask")
    with pytest.raises(VolumeError, match="the layer mask is a mask; choose an image"):
        segment_layers(filled, flair="mask")


def test_an_empty_viewer_is_one_sentence(viewer: ViewerModel):
    with pytest.raises(VolumeError, match="Open a volume"):
        segment_layers(viewer)


def test_it_works_with_a_real_window_and_ends_with_it(make_napari_viewer, brain: Volume, qtbot):
    viewer = make_napari_viewer()
    show(viewer, brain)
    assert segment_layers(viewer).data.any()
    pid = SHARED._process.pid
    viewer.close()
    qtbot.waitUntil(lambda: not alive(pid), timeout=5000)
