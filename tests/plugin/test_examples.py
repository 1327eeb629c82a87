"""The examples run as they stand, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *arguments: str, folder: Path) -> str:
    """Run an example in `folder` and return what it says."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_here():
    tested = {"segment_one_file.py", "batch_folder.py", "scripted_session.py", "segment_layers.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested


@pytest.fixture(scope="module")
def flair(tmp_path_factory) -> Path:
    from mambaseg.files import write
    from mambaseg.synthetic import synthetic_brain

    path = tmp_path_factory.mktemp("flair") / "flair.nii.gz"
    small = synthetic_brain(1, shape=(96, 112, 16), spacing_mm=(2.0, 2.0, 8.0), channels=["flair"])
    write(small.volume, path)
    return path


def test_one_file_gives_a_mask_on_its_grid(flair: Path, tmp_path: Path):
    said = run("segment_one_file.py", str(flair), "out.nii.gz", folder=tmp_path)
    assert "tumour:" in said
    assert nib.load(tmp_path / "out.nii.gz").shape == nib.load(flair).shape


def test_without_a_file_the_sample_is_segmented(tmp_path: Path):
    run("segment_one_file.py", folder=tmp_path)
    assert nib.load(tmp_path / "mask.nii.gz").get_fdata().any()


def test_a_folder_is_segmented_and_a_bad_file_left_out(tmp_path: Path):
    said = run("batch_folder.py", folder=tmp_path)
    assert "damaged.nii.gz: left out" in said
    masks = Path(said.strip().rsplit("masks are in ", 1)[1])
    assert [path.name for path in sorted(masks.iterdir())] == ["case1.nii.gz", "case2.nii.gz"]


def test_a_scripted_session_shows_volume_and_mask(flair: Path, tmp_path: Path):
    assert "2 layers: flair, tumour" in run("scripted_session.py", str(flair), "--close", folder=tmp_path)


def test_layers_are_segmented_from_a_script(flair: Path, tmp_path: Path):
    said = run("segment_layers.py", str(flair), "--close", folder=tmp_path)
    assert "3 layers: flair, flair · uncertainty, flair · tumour" in said
