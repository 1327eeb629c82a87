"""The command line's contract: what is printed, what is written."""

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from mambaseg.checkpoint import save_checkpoint
from mambaseg.cli import main
from mambaseg.registry import user_models

LPS = np.diag([-1.0, -1.0, 5.0, 1.0])


@pytest.fixture
def tiny(small_model):
    save_checkpoint(small_model, user_models() / "tiny" / "1.0")


def run(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    printed = capsys.readouterr()
    assert stop.value.code == 0, printed.err
    return printed


def test_segment_writes_a_mask_on_the_sources_grid_and_reports_it(nifti, tmp_path, tiny, capsys):
    source, mask = nifti(), tmp_path / "mask.nii.gz"
    report = json.loads(run(["segment", source, "-o", mask, "--model", "tiny", "--json"], capsys).out)
    assert set(report) == {
        "output", "model", "version", "device", "backend", "threads", "seconds", "ml", "warnings"
    }  # fmt: skip
    assert set(report["seconds"]) == {"load", "prepare", "network", "write", "total"}
    assert (report["model"], report["version"], report["device"]) == ("tiny", "1.0", "cpu")
    assert [line.split(" was not given")[0] for line in report["warnings"]] == ["t1", "t1c"]
    written, original = nib.load(mask), nib.load(source)
    assert written.shape == original.shape
    assert np.allclose(written.affine, original.affine, atol=1e-6)
    assert written.get_data_dtype() == np.uint8
    ml = float((np.asarray(written.dataobj) > 0).sum()) * 5 / 1000
    assert report["ml"]["tumour"] == pytest.approx(ml, abs=1e-3)


def test_channels_are_given_as_pairs_or_as_one_file_of_four_dimensions(nifti, tmp_path, tiny, capsys):
    pairs = [f"{c}={nifti(name=f'{c}.nii.gz')}" for c in ("t1c", "flair", "t1")]
    first = json.loads(run(["segment", *pairs, "-o", tmp_path / "a.nii.gz", "--model", "tiny", "--json"], capsys).out)
    array = np.asarray(nib.load(tmp_path / "flair.nii.gz").dataobj)
    stacked = nifti(np.stack([array] * 3, axis=-1), name="stacked.nii.gz")
    second = json.loads(run(["segment", stacked, "-o", tmp_path / "b.nii.gz", "--model", "tiny", "--json"], capsys).out)
    assert first["warnings"] == second["warnings"] == []
    assert first["ml"] == second["ml"]


def test_another_grid_is_resampled_and_said(nifti, tmp_path, tiny, capsys):
    shifted = LPS.copy()
    shifted[0, 3] = 3
    pairs = [f"flair={nifti()}", f"t1={nifti(affine=shifted, name='t1.nii.gz')}"]
    printed = run(["segment", *pairs, "-o", tmp_path / "mask.nii.gz", "--model", "tiny"], capsys)
    assert "mambaseg: note: t1 lies on another grid" in printed.err
    assert "tumour" in printed.out


def test_probabilities_are_written_beside_the_mask(nifti, tmp_path, tiny, capsys):
    soft = tmp_path / "soft.nii.gz"
    run(["segment", nifti(), "-o", tmp_path / "m.nii.gz", "--model", "tiny", "--probabilities", soft], capsys)
    values = nib.load(soft).get_fdata()
    mask = nib.load(tmp_path / "m.nii.gz").get_fdata()
    assert np.array_equal(values > 0.5, mask > 0)


def test_models_lists_the_shipped_model_with_its_figures(capsys):
    models = json.loads(run(["models", "--json"], capsys).out)["models"]
    shipped = next(m for m in models if m["name"] == "brain-tumour")
    assert set(shipped) == {"name", "version", "parameters", "bytes", "sha256", "path", "metrics"}
    assert shipped["parameters"] <= 473_953
    assert "protocol" in shipped["metrics"]["val_dice"]


def test_doctor_names_the_device_the_back_end_and_the_models(capsys):
    facts = json.loads(run(["doctor", "--json"], capsys).out)
    assert facts["backend"] in facts["backends"]
    assert any(m.startswith("brain-tumour") for m in facts["models"])
    assert "brain-tumour" in run(["doctor"], capsys).out.splitlines()[0]


def test_evaluate_prints_cases_and_their_mean(nifti, tmp_path, capsys):
    mask = np.zeros((8, 9, 10), np.uint8)
    mask[2:5, 2:6, 3:7] = 1
    truth = nifti(mask, name="truth.nii.gz")
    printed = run(["evaluate", "--prediction", truth, "--reference", truth, "--json"], capsys)
    result = json.loads(printed.out)
    assert set(result["cases"][0]) == {"case", "label", "dice", "iou", "hd95_mm", "nsd_1mm", "volume_error_ml"}
    assert result["mean"]["1"]["dice"] == 1


def test_train_makes_a_model_that_segment_can_use(data_set, nifti, tmp_path, capsys):
    out = tmp_path / "run"
    run(["train", data_set, "--network", "mambaseg-2d", "--out", out, "--steps", "2", "--batch", "2"], capsys)
    report = run(["segment", nifti(), "-o", tmp_path / "mask.nii.gz", "--model", out, "--json"], capsys)
    assert json.loads(report.out)["model"] == "model"


def test_importing_the_package_or_reading_a_file_loads_neither_torch_nor_monai(nifti):
    code = (
        f"import sys, mambaseg; mambaseg.read({str(nifti())!r}); "
        "print([m for m in ('torch', 'monai', 'napari', 'qtpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_public_name_is_refused_with_those_that_exist():
    import mambaseg

    assert all(getattr(mambaseg, name) is not None for name in mambaseg.__all__)
    with pytest.raises(AttributeError, match="no attribute 'magic'; it offers Job, Label"):
        mambaseg.magic  # noqa: B018
