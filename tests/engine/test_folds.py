"""Cross-validation: folds are disjoint, cover everybody, never split a patient, and are the same for every network."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mambaseg.cli import main
from mambaseg.config import NETWORKS, MambaSeg2dConfig, TrainConfig, UNetConfig
from mambaseg.data_set import Case, DataSet, read_data_set
from mambaseg.errors import DataSetError, FileError
from mambaseg.folds import hold_out, parse_fold
from mambaseg.jobs import Job, JobCancelled
from mambaseg.train import train

MAMBA = MambaSeg2dConfig(widths=(4, 8, 8, 8, 8), depths=(1, 1, 1, 1, 1), head_dim=4, state=4)
UNET = UNetConfig(widths=(4, 8))
CONFIG = TrainConfig(steps=2, batch=2, checkpoint_every=1, validate_every=2)


def case(name, patient):
    return Case(name, {"flair": Path(f"{name}_0000.nii.gz")}, Path(f"{name}.nii.gz"), patient)


def listed():
    """Seven patients to train on, three of them with two cases; two to validate on; one to test on."""
    cases = [case(f"p{n}_{visit}", f"p{n}") for n in range(7) for visit in range(2 if n % 3 == 0 else 1)]
    splits = {"train": tuple(cases), "val": (case("v0", "v0"), case("v1", "v1")), "test": (case("t0", "t0"),)}
    return DataSet(Path("data"), ("flair",), {1: "tumour"}, splits)


def patients(cases):
    return {one.patient for one in cases}


@pytest.mark.parametrize(("over", "everybody"), [("train", 7), ("all", 10)])
@pytest.mark.parametrize("folds", [2, 3, 7])
def test_folds_are_disjoint_cover_everybody_and_split_no_patient(over, everybody, folds):
    held = []
    for number in range(1, folds + 1):
        divided = hold_out(listed(), (number, folds), over)
        learn, check = divided.splits["train"], divided.splits["val"]
        assert not patients(learn) & patients(check)
        assert len(patients(learn) | patients(check)) == everybody
        assert len(learn) + len(check) == (10 if over == "train" else 13)
        held.append(patients(check))
    assert sum(map(len, held)) == len(set().union(*held)) == everybody
    assert max(map(len, held)) - min(map(len, held)) <= 1


def test_folds_of_the_train_list_leave_the_other_lists_out_and_a_test_list_as_it_is():
    divided = hold_out(listed(), (1, 3))
    assert not {"v0", "v1", "t0"} & patients((*divided.splits["train"], *divided.splits["val"]))
    assert divided.splits["test"] == listed().splits["test"]
    assert "test" not in hold_out(listed(), (1, 3), "all").splits


def test_folds_do_not_depend_on_the_order_of_a_list_and_are_these_for_ever():
    turned = replace(listed(), splits={name: cases[::-1] for name, cases in listed().splits.items()})
    folds = [patients(hold_out(listed(), (number, 3)).splits["val"]) for number in (1, 2, 3)]
    assert folds == [patients(hold_out(turned, (number, 3)).splits["val"]) for number in (1, 2, 3)]
    assert folds == [{"p2", "p4", "p6"}, {"p0", "p5"}, {"p1", "p3"}]
    alphabetical = sorted(patients(listed().splits["train"]))
    assert folds != [set(alphabetical[number::3]) for number in range(3)]


@pytest.mark.parametrize("text", ["", "1", "1/", "a/b", "1/2/3", "-1/5", "1.5/3"])
def test_what_is_no_fold_is_refused(text):
    with pytest.raises(DataSetError, match=r"is no fold; give K/N, such as 1/5 for the first of five"):
        parse_fold(text)
    assert parse_fold("2/5") == parse_fold(" 2 / 5 ") == (2, 5)


@pytest.mark.parametrize("fold", [(0, 5), (6, 5), (1, 1), (1, 0)])
def test_a_fold_that_does_not_exist_is_refused(fold):
    with pytest.raises(DataSetError, match=rf"no fold {fold[0]}/{fold[1]}; give K/N with N of at least 2 and K from 1"):
        hold_out(listed(), fold)


def test_more_folds_than_patients_and_unknown_lists_are_refused():
    with pytest.raises(DataSetError, match="7 patients cannot be divided into 8 folds; give as many at most"):
        hold_out(listed(), (1, 8))
    with pytest.raises(DataSetError, match="folds cannot be made over 'val'; choose from train, all"):
        hold_out(listed(), (1, 3), "val")


def run(data_set, out, network, **options):
    return Job(lambda: train(data_set, out, network, CONFIG, device="cpu", **options)).run()


def test_every_network_has_the_same_folds_and_the_card_says_which(data_set, tmp_path):
    options = {"fold": (2, 5), "over": "all"}
    cards = [run(data_set, tmp_path / net.name, net, **options).card for net in (MAMBA, UNET)]
    held = hold_out(read_data_set(data_set), (2, 5), "all").splits["val"]
    expected = {"number": 2, "of": 5, "over": "all", "seed": 0, "val": [one.name for one in held]}
    assert [card.training["fold"] for card in cards] == [expected, expected]
    assert cards[0].training["recipe_sha256"] == cards[1].training["recipe_sha256"]
    assert cards[0].training_data == "data: 4 train cases, all but fold 2/5 over all"
    assert cards[0].metrics["val_dice"]["protocol"].startswith("1 val patients")


def test_a_run_of_one_fold_is_not_resumed_as_another(data_set, tmp_path):
    job = Job(lambda: train(data_set, tmp_path / "out", UNET, CONFIG, device="cpu", fold=(1, 3)))
    job.events.progressed.connect(lambda event: job.cancel() if event.stage == "training" else None)
    with pytest.raises(JobCancelled):
        job.run()
    with pytest.raises(FileError, match="was started on other cases, or they were prepared in another way; resume"):
        run(data_set, tmp_path / "out", UNET, resume=True, fold=(2, 3))
    assert run(data_set, tmp_path / "out", UNET, resume=True, fold=(1, 3)).card.training["fold"]["number"] == 1


def test_a_fold_is_trained_from_the_command_line(data_set, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(NETWORKS, "unet", lambda: UNET)

    def command(*options):
        arguments = ["train", data_set, "--network", "unet", "--out", tmp_path / "run", "--steps", 1, "--batch", 2]
        with pytest.raises(SystemExit) as stop:
            main([str(each) for each in (*arguments, *options)])
        return stop.value.code, capsys.readouterr()

    code, printed = command("--over", "all")
    assert (code, printed.err) == (2, "mambaseg: --over all says what is divided into folds; give --fold K/N with it\n")
    code, printed = command("--fold", "5/3")
    assert (code, printed.err.count("\n")) == (2, 1)
    code, printed = command("--fold", "1/3", "--json")
    assert code == 0, printed.err
    assert json.loads(printed.out)["training"]["fold"]["over"] == "train"
