"""Checkpoints and the registry: round trips, damage, names."""

import json

import pytest
import torch

from mambaseg.card import CARD, read_card
from mambaseg.checkpoint import WEIGHTS, load_checkpoint, save_checkpoint
from mambaseg.errors import ModelError
from mambaseg.network import parameter_count
from mambaseg.registry import list_models, load_model, user_models


@pytest.fixture
def folder(small_model):
    return save_checkpoint(small_model, user_models() / "tiny" / "1.0").path


def test_a_saved_model_comes_back_the_same(small_model, folder):
    again = load_checkpoint(folder)
    assert again.card == small_model.card
    assert all(torch.equal(again.weights[name], tensor) for name, tensor in small_model.weights.items())


def test_the_card_counts_parameters_over_all_tensors(small_model):
    assert small_model.card.parameters == parameter_count(small_model.network())


def test_no_pickle_is_on_disk(folder):
    assert sorted(path.name for path in folder.iterdir()) == [CARD, WEIGHTS]
    assert b"pickle" not in (folder / WEIGHTS).read_bytes()


def test_one_changed_byte_in_the_weights_is_noticed(folder):
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-5] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(ModelError, match=r"tiny 1\.0 are damaged: their SHA-256 is .*install the model again"):
        load_model("tiny")


def test_weights_that_are_gone_are_noticed(folder):
    (folder / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=rf"holds no {WEIGHTS}; install the model again"):
        load_model("tiny")


def test_a_damaged_card_is_refused_in_one_line_and_hides_no_other_model(folder):
    card = json.loads((folder / CARD).read_text())
    del card["network"]
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"model\.json is damaged \(network: Field required\)") as caught:
        read_card(folder)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=r"is damaged"):
        load_model("tiny")
    assert "tiny" not in [card.name for card, _ in list_models()]


def test_weights_of_another_network_are_refused(folder):
    card = json.loads((folder / CARD).read_text())
    card["network"]["widths"] = [4, 8, 8, 8, 12]
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"do not fit their card"):
        load_checkpoint(folder)


def test_a_model_is_found_by_name_by_version_and_by_folder(folder):
    assert {load_model(n).title for n in ("tiny", "tiny 1.0", "tiny@1.0", str(folder))} == {"tiny 1.0"}


def test_an_unknown_model_is_refused_with_those_that_exist(folder):
    with pytest.raises(ModelError, match=r"there is no model 'huge'; choose from: .*tiny 1\.0"):
        load_model("huge")
    with pytest.raises(ModelError, match=r"there is no model 'tiny 9\.9'"):
        load_model("tiny 9.9")


def test_version_ten_is_newer_than_version_nine(small_model):
    for version in ("1.9", "1.10"):
        card = small_model.card.model_copy(update={"version": version})
        save_checkpoint(type(small_model)(card, small_model.weights), user_models() / "tiny" / version)
    assert load_model("tiny").card.version == "1.10"
