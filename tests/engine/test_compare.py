"""A whole comparison on a small data set: what it leaves, whom it refuses, what each model is given."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from mambaseg import compare as module
from mambaseg.checkpoint import Checkpoint, save_checkpoint
from mambaseg.compare import compare
from mambaseg.compare_contenders import channels_for, load_contenders
from mambaseg.compare_facts import facts, slice_flops
from mambaseg.compare_memory import peak_apart
from mambaseg.data_set import read_data_set
from mambaseg.errors import DataSetError, FileError, MambaSegError, ModelError
from mambaseg.jobs import Job
from mambaseg.network import build


@pytest.fixture
def models(small_model, tmp_path):
    """Two models of the same name and version, which differ in nothing but one weight."""
    save_checkpoint(small_model, tmp_path / "one")
    weights = {name: tensor.clone() for name, tensor in small_model.weights.items()}
    weights["heads.0.bias"] -= 3
    save_checkpoint(Checkpoint(small_model.card, weights), tmp_path / "two")
    (tmp_path / "two" / "log.csv").write_text("step,seconds,loss,val_dice\n20,1,1.5,\n40,2,1.2,0.3\n")
    return [str(tmp_path / "one"), str(tmp_path / "two")]


@pytest.fixture(autouse=True)
def _no_processes(request, monkeypatch):
    if "slow" not in request.node.name:
        monkeypatch.setattr(module, "peak_apart", lambda *_: {"peak_bytes": 1000, "device": "cpu"})


def run(*arguments, **options):
    return Job(lambda: compare(*arguments, device="cpu", **options)).run()


def changed(folder, **update):
    """Change what a model's card says."""
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(card | update))


def test_a_comparison_leaves_masks_tables_and_plots(data_set, models, tmp_path):
    result = run(data_set, models, tmp_path / "out")
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    there = sorted(file.relative_to(tmp_path / "out").as_posix() for file in files)
    assert there == [
        "cases.csv", "compare.json", "dice_parameters.png", "dice_per_patient.png", "learning_curves.png",
        "masks/tiny-1.0-one/case3.nii.gz", "masks/tiny-1.0-one/case4.nii.gz",
        "masks/tiny-1.0-two/case3.nii.gz", "masks/tiny-1.0-two/case4.nii.gz",
        "table.csv", "table.md", "worst_cases.png",
    ]  # fmt: skip
    mask = nib.load(tmp_path / "out" / "masks" / "tiny-1.0-one" / "case3.nii.gz")
    label = nib.load(data_set / "labelsTr" / "case3.nii.gz")
    assert mask.shape == label.shape
    assert np.array_equal(mask.affine, label.affine)
    found, truth = np.asarray(mask.dataobj) > 0, np.asarray(label.dataobj) > 0
    row = next(row for row in result["cases"] if row["model"] == "tiny 1.0 (one)" and row["case"] == "case3")
    assert row["dice"] == pytest.approx(2 * (found & truth).sum() / (found.sum() + truth.sum()))
    assert json.loads((tmp_path / "out" / "compare.json").read_text()) == result
    rows = list(csv.DictReader((tmp_path / "out" / "cases.csv").read_text().splitlines()))
    assert [(line["model"], line["case"], line["label"]) for line in rows] == [
        (f"tiny 1.0 ({model})", case, "tumour") for model in ("one", "two") for case in ("case3", "case4")
    ]


def test_a_result_says_where_it_comes_from_without_a_path(data_set, models, tmp_path):
    result = run(data_set, models, tmp_path / "out", split="train", channels="required")
    assert result["command"] == (
        "mambaseg compare data --models one,two --out out --split train --channels required --device cpu"
    )
    assert str(tmp_path) not in json.dumps(result)
    assert result["data_set"]["cases"] == ["case0", "case1", "case2"]
    one = result["models"][0]
    assert one["seconds_cpu"] > 0 and one["seconds_gpu"] is None
    assert one["peak_bytes"] == 1000
    assert {"machine", "versions", "commit", "date", "protocol"} <= set(result)


def test_all_channels_that_a_case_has_or_the_required_ones_alone(data_set, models):
    (one, _), cases = load_contenders(models), read_data_set(data_set).splits["train"]
    assert [channels_for(one, case, "all") for case in cases[:2]] == [("flair", "t1"), ("flair",)]
    assert channels_for(one, cases[0], "required") == ("flair",)


def test_where_the_peak_of_memory_could_not_be_measured_the_reason_is_told(data_set, models, tmp_path, monkeypatch):
    def fails(*_):
        raise MambaSegError("it was killed")

    monkeypatch.setattr(module, "peak_apart", fails)
    one = run(data_set, models[:1], tmp_path / "out")["models"][0]
    assert (one["peak_bytes"], one["peak_missing"]) == (None, "it was killed")


def test_slow_the_peak_of_memory_is_that_of_a_fresh_process(models, volume, tmp_path):
    from mambaseg.benchmark_row import keep_volume

    keep_volume(volume, tmp_path / "volume.npz")
    found = peak_apart(tmp_path / "one", "cpu", tmp_path / "volume.npz")
    assert found["device"] == "cpu"
    assert found["peak_bytes"] > 10_000_000
    with pytest.raises(MambaSegError, match=r"measuring the memory of none on cpu ended with code 1: .*no model"):
        peak_apart(tmp_path / "none", "cpu", tmp_path / "volume.npz")


def test_facts_count_tensors_bytes_and_operations(models, small_model):
    found = facts(load_contenders(models)[0])
    network = small_model.network()
    assert found["learnable_parameters"] == sum(p.numel() for p in network.parameters())
    assert found["parameters"] > found["learnable_parameters"]
    assert found["bytes"] > 4 * found["parameters"]
    assert "metrics" not in found


def test_operations_are_two_for_each_product_of_a_convolution():
    from mambaseg.config import UNetConfig

    small, wide = (slice_flops(build(UNetConfig(channels=1, widths=(width,)))) for width in (4, 8))
    pixels = 256 * 256
    # 1 -> w and w -> w with 3 x 3, w -> 1 with 1 x 1.
    assert small == 2 * pixels * (9 * 4 + 9 * 4 * 4 + 4)
    assert wide == 2 * pixels * (9 * 8 + 9 * 8 * 8 + 8)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"split": "test"}, DataSetError, r"has no cases under 'test'; choose from train, val"),
        ({"channels": "some"}, DataSetError, r"--channels is 'some'; choose from all, required"),
    ],
)
def test_a_split_or_channels_that_there_are_not_are_refused(data_set, models, tmp_path, options, error, match):
    with pytest.raises(error, match=match):
        run(data_set, models, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_model_that_needs_a_channel_which_the_data_set_has_not_is_refused_before_anything_runs(
    data_set, models, tmp_path
):
    channels = [{"name": "flair", "required": True}, {"name": "t2", "required": True}, {"name": "t1c"}]
    changed(tmp_path / "two", channels=channels)
    with pytest.raises(DataSetError, match=r"the model tiny 1\.0 \(two\) needs the channel 't2'; data has flair, t1"):
        run(data_set, models, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_that_needs_a_channel_which_one_case_lacks_is_refused(data_set, models, tmp_path):
    changed(tmp_path / "one", channels=[{"name": "flair"}, {"name": "t1"}, {"name": "t1c", "required": False}])
    with pytest.raises(DataSetError, match=r"needs the channel 't1', which the case case1 of data lacks"):
        run(data_set, models, tmp_path / "out", split="train")


def test_a_model_of_other_labels_is_refused(data_set, models, tmp_path):
    changed(tmp_path / "two", labels=[{"value": 2, "name": "oedema"}])
    with pytest.raises(DataSetError, match=r"\(two\) draws the labels 2 'oedema'; data has 1 'tumour': leave the"):
        run(data_set, models, tmp_path / "out")


def test_the_same_model_twice_and_none_are_refused(data_set, models, tmp_path):
    with pytest.raises(ModelError, match=r"is named twice; name each model once"):
        run(data_set, [models[0], models[0]], tmp_path / "out")
    with pytest.raises(ModelError, match=r"no model was named"):
        run(data_set, [], tmp_path / "out")


def test_two_comparisons_are_never_mixed_in_one_folder(data_set, models, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "compare.json").write_text("{}")
    with pytest.raises(FileError, match=r"already holds a comparison; give --out another folder"):
        run(data_set, models, tmp_path / "out")


def test_a_case_that_cannot_be_segmented_is_named(data_set, models, tmp_path):
    image = data_set / "imagesTr" / "case3_0000.nii.gz"
    nib.save(nib.Nifti1Image(np.full((40, 36, 6), np.nan, np.float32), nib.load(image).affine), image)
    with pytest.raises(DataSetError, match=r"^case3: "):
        run(data_set, models, tmp_path / "out")
    assert not (tmp_path / "out" / "compare.json").exists()
