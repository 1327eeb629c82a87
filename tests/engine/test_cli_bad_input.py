"""Every bad input on the command line: exit code 2, one line, and no file created or changed."""

import errno
import gzip
import os
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from mambaseg.checkpoint import WEIGHTS, save_checkpoint
from mambaseg.cli import main
from mambaseg.registry import user_models

LPS = np.diag([-1.0, -1.0, 5.0, 1.0])
FLAIR = np.random.default_rng(0).uniform(0, 200, (40, 36, 6)).astype(np.float32)


def image(folder, array=FLAIR, affine=LPS, name="case.nii.gz"):
    path = folder / name
    nib.save(nib.Nifti1Image(array, affine), path)
    return str(path)


def missing_file(folder):
    return [str(folder / "nowhere.nii.gz")], r"nowhere\.nii\.gz does not exist"


def a_folder(folder):
    (folder / "scans").mkdir()
    return [str(folder / "scans")], r"is a folder; .*one file"


def empty_file(folder):
    (folder / "empty.nii.gz").write_bytes(b"")
    return [str(folder / "empty.nii.gz")], r"is empty"


def truncated_gzip(folder):
    path = image(folder)
    data = (folder / "case.nii.gz").read_bytes()
    (folder / "case.nii.gz").write_bytes(data[: len(data) // 2])
    return [path], r"truncated|cut off|incomplete|ends"


def text_named_nii(folder):
    (folder / "notes.nii").write_text("this is no volume " * 100)
    return [str(folder / "notes.nii")], r"notes\.nii has no usable \.nii header"


def two_dimensional(folder):
    return [image(folder, FLAIR[:, :, 0])], r"2"


def five_dimensional(folder):
    return [image(folder, FLAIR[..., None, None].repeat(2, 3).repeat(2, 4))], r"5"


def zero_size_axis(folder):
    data = bytearray(gzip.decompress(Path(image(folder)).read_bytes()))
    data[42:44] = (0).to_bytes(2, "little")  # dim[1] of the NIfTI-1 header
    (folder / "zero.nii").write_bytes(data)
    return [str(folder / "zero.nii")], r"\b0\b"


def complex_numbers(folder):
    return [image(folder, FLAIR.astype(np.complex64))], r"complex"


def colours(folder):
    rgb = np.zeros(FLAIR.shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    return [image(folder, rgb)], r"RGB|colour"


def singular_affine(folder):
    data = bytearray(gzip.decompress(Path(image(folder)).read_bytes()))
    data[296:312] = data[280:296]  # srow_y = srow_x
    (folder / "flat.nii").write_bytes(data)
    return [str(folder / "flat.nii")], r"singular"


def spacing_that_is_not_a_number(folder):
    data = bytearray(gzip.decompress(Path(image(folder)).read_bytes()))
    data[80:84] = np.float32(np.nan).tobytes()  # pixdim[1]
    (folder / "nan.nii").write_bytes(data)
    return [str(folder / "nan.nii")], r"pixdim|spacing|finite"


def mostly_nan(folder):
    array = FLAIR.copy()
    array[:30] = np.nan
    return [image(folder, array)], r"75% of the voxels of flair are NaN or infinite"


def constant_required_channel(folder):
    return [image(folder, np.full_like(FLAIR, 3))], r"every voxel of flair is 3"


def wrong_number_of_channels(folder):
    return [image(folder, np.stack([FLAIR, FLAIR], -1))], r"has 2 channels; the model tiny 1\.0 takes 3"


def unknown_channel_name(folder):
    return [f"flair={image(folder)}", f"dwi={image(folder)}"], r"has no channel 'dwi'; it knows flair, t1, t1c"


def channel_given_twice(folder):
    return [f"flair={image(folder)}", f"FLAIR={image(folder)}"], r"the channel 'FLAIR' is given twice"


def optional_channel_alone(folder):
    return [f"t1={image(folder)}"], r"the channel 'flair' is missing"


def volumes_that_do_not_overlap(folder):
    far = LPS.copy()
    far[:3, 3] = 500
    return [f"flair={image(folder)}", f"t1={image(folder, affine=far, name='t1.nii.gz')}"], r"t1 covers 0%"


def unknown_model(folder):
    return [image(folder), "--model", "huge"], r"there is no model 'huge'"


def damaged_weights(folder):
    path = user_models() / "tiny" / "1.0" / WEIGHTS
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return [image(folder)], r"the weights of tiny 1\.0 are damaged"


def slice_that_does_not_exist(folder):
    return [image(folder), "--slice", "6"], r"slice 6 does not exist"


def unknown_back_end(folder):
    return [image(folder), "--backend", "magic"], r"no scan back end 'magic'"


def back_end_that_needs_a_gpu(folder):
    return [image(folder), "--backend", "triton"], r"triton cannot be used here: (the package triton|Triton's kernels)"


def back_end_not_installed(folder):
    return [image(folder), "--backend", "mamba_ssm"], r"mamba_ssm cannot be used here: .* mamba-ssm is not installed"


def missing_output_folder(folder):
    return [image(folder), "-o", str(folder / "nowhere" / "mask.nii.gz")], r"nowhere"


def output_equal_to_an_input(folder):
    path = image(folder)
    return [path, "-o", path], r"case\.nii\.gz"


def output_of_an_unknown_kind(folder):
    return [image(folder), "-o", str(folder / "mask.png")], r"\.nii\.gz"


def mask_and_probabilities_in_one_file(folder):
    path = str(folder / "mask.nii.gz")
    return [image(folder), "-o", path, "--probabilities", path], r"give two names"


def cuda_that_is_absent(folder):
    return [image(folder), "--device", "cuda"], r"the device cuda is not available"


def no_output(folder):
    return [image(folder), "--model", "tiny", "-o"], r"-o"


def unknown_option(folder):
    return [image(folder), "--fast"], r"--fast"


BAD = [
    missing_file, a_folder, empty_file, truncated_gzip, text_named_nii, two_dimensional, five_dimensional,
    zero_size_axis, complex_numbers, colours, singular_affine, spacing_that_is_not_a_number, mostly_nan,
    constant_required_channel, wrong_number_of_channels, unknown_channel_name, channel_given_twice,
    optional_channel_alone, volumes_that_do_not_overlap, unknown_model, damaged_weights, slice_that_does_not_exist,
    unknown_back_end, back_end_that_needs_a_gpu, back_end_not_installed, missing_output_folder,
    output_equal_to_an_input, output_of_an_unknown_kind, mask_and_probabilities_in_one_file, cuda_that_is_absent,
    no_output, unknown_option,
]  # fmt: skip


@pytest.fixture
def tiny(small_model):
    save_checkpoint(small_model, user_models() / "tiny" / "1.0")


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refuse(arguments, capsys):
    """Run, expecting a refusal; return the one line."""
    with pytest.raises(SystemExit) as stop:
        main(["segment", *arguments])
    printed = capsys.readouterr()
    assert stop.value.code == 2, printed
    assert printed.out == ""
    assert printed.err.startswith("mambaseg: ")
    assert printed.err.count("\n") == 1
    assert "Traceback" not in printed.err
    return printed.err


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.__name__)
def test_bad_input_gets_one_line_and_changes_nothing(case, tmp_path, tiny, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    arguments, wanted = case(tmp_path)
    if "--model" not in arguments:
        arguments += ["--model", "tiny"]
    if "-o" not in arguments:
        arguments += ["-o", str(tmp_path / "mask.nii.gz")]
    before = contents(tmp_path)
    line = refuse(arguments, capsys)
    assert re.search(wanted, line), line
    assert contents(tmp_path) == before


def test_an_output_that_cannot_be_written_is_refused_before_any_work(tmp_path, tiny, capsys):
    line = refuse([image(tmp_path), "-o", "/proc/mask.nii.gz", "--model", "tiny"], capsys)
    assert "/proc" in line


def test_a_full_disk_leaves_the_old_mask(tmp_path, tiny, capsys, monkeypatch):
    target = tmp_path / "mask.nii.gz"
    target.write_bytes(b"the old mask")
    source = image(tmp_path)
    before = contents(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    line = refuse([source, "-o", str(target), "--model", "tiny"], capsys)
    assert "space" in line
    assert contents(tmp_path) == before


@pytest.mark.parametrize("fails", [1, 2])
def test_mask_and_probabilities_are_both_written_or_neither(tmp_path, tiny, capsys, monkeypatch, fails):
    source, soft = image(tmp_path), tmp_path / "soft.nii.gz"
    before, calls = contents(tmp_path), []
    real = os.replace

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == fails:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(*arguments)

    monkeypatch.setattr(os, "replace", full)
    options = ["-o", str(tmp_path / "mask.nii.gz"), "--probabilities", str(soft), "--model", "tiny"]
    line = refuse([source, *options], capsys)
    assert ("soft.nii.gz" if fails == 1 else "mask.nii.gz") in line
    assert contents(tmp_path) == before


@pytest.mark.parametrize("arguments", [[], ["frobnicate"], ["models", "explode"], ["train", "nowhere", "--out", "x"]])
def test_other_commands_refuse_in_one_line_too(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    printed = capsys.readouterr()
    assert (stop.value.code, printed.out) == (2, "")
    assert printed.err.startswith("mambaseg: ")
    assert printed.err.count("\n") == 1
    assert contents(tmp_path) == {}
