"""One number for all that decides a run but the network and its learning rate."""

from dataclasses import replace

import pytest

from mambaseg.config import MambaSeg2dConfig, PrepareConfig, TrainConfig, UNetConfig
from mambaseg.data_set import read_data_set
from mambaseg.folds import hold_out
from mambaseg.jobs import Job
from mambaseg.recipe import recipe_sha256
from mambaseg.train import train

CONFIG = TrainConfig(steps=1, batch=2)


def test_it_is_the_same_for_the_same_ingredients_and_for_another_learning_rate(data_set):
    first = recipe_sha256(CONFIG, PrepareConfig(), read_data_set(data_set))
    assert len(first) == 64
    other = CONFIG.model_copy(update={"learning_rate": 1e-4})
    assert recipe_sha256(other, PrepareConfig(), read_data_set(data_set)) == first


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 2),
        ("batch", 3),
        ("patch", (64, 48)),
        ("weight_decay", 0.1),
        ("warm_up", 0.1),
        ("clip_norm", 2.0),
        ("ema", 0.9),
        ("foreground", 0.25),
        ("drop_optional", 0.0),
        ("deep_supervision", (1.0,)),
        ("seed", 1),
    ],
)
def test_it_changes_with_each_setting_of_training(data_set, field, value):
    found = read_data_set(data_set)
    other = CONFIG.model_copy(update={field: value})
    assert recipe_sha256(other, PrepareConfig(), found) != recipe_sha256(CONFIG, PrepareConfig(), found)


def test_it_changes_with_each_setting_of_preparation(data_set):
    found = read_data_set(data_set)
    usual = PrepareConfig()
    changed = [usual.model_copy(update={name: 2 * value}) for name, value in usual.model_dump().items()]
    assert len({recipe_sha256(CONFIG, each, found) for each in (usual, *changed)}) == 1 + len(changed)


def test_it_changes_with_channels_labels_and_cases(data_set):
    found = read_data_set(data_set)
    train_cases, val_cases = found.splits["train"], found.splits["val"]
    others = [
        found,
        replace(found, channels=("flair", "t2")),
        replace(found, labels={1: "oedema"}),
        replace(found, labels={2: "tumour"}),
        replace(found, splits={"train": train_cases[1:], "val": val_cases}),
        replace(found, splits={"train": train_cases[::-1], "val": val_cases}),
        replace(found, splits={"train": (*train_cases, val_cases[0]), "val": val_cases[1:]}),
        hold_out(found, (1, 3)),
        hold_out(found, (2, 3)),
    ]
    assert len({recipe_sha256(CONFIG, PrepareConfig(), each) for each in others}) == len(others)


def test_it_changes_with_the_size_of_a_file_and_with_a_file_that_comes(data_set):
    recipes = {recipe_sha256(CONFIG, PrepareConfig(), read_data_set(data_set))}
    label = data_set / "labelsTr" / "case4.nii.gz"
    label.write_bytes(label.read_bytes() + b"\0")
    recipes.add(recipe_sha256(CONFIG, PrepareConfig(), read_data_set(data_set)))
    (data_set / "imagesTr" / "case1_0001.nii.gz").write_bytes(b"t1")
    recipes.add(recipe_sha256(CONFIG, PrepareConfig(), read_data_set(data_set)))
    assert len(recipes) == 3


def test_it_does_not_depend_on_where_the_data_set_lies(data_set, tmp_path):
    before = recipe_sha256(CONFIG, PrepareConfig(), read_data_set(data_set))
    moved = data_set.rename(tmp_path / "elsewhere")
    assert recipe_sha256(CONFIG, PrepareConfig(), read_data_set(moved)) == before


def test_a_card_has_it_whatever_the_network_and_the_learning_rate(data_set, tmp_path):
    networks = (
        MambaSeg2dConfig(widths=(4, 8, 8, 8, 8), depths=(1, 1, 1, 1, 1), head_dim=4, state=4),
        UNetConfig(widths=(4, 8)),
    )
    found = set()
    for rate, network in enumerate(networks, 1):
        config, out = CONFIG.model_copy(update={"learning_rate": rate * 1e-3}), tmp_path / network.name
        model = Job(lambda net=network, c=config, o=out: train(data_set, o, net, c, device="cpu")).run()
        found.add(model.card.training["recipe_sha256"])
    assert found == {recipe_sha256(CONFIG, PrepareConfig(), read_data_set(data_set))}
