"""Small real arrays and models for the engine's tests; three different side lengths, so that swapped axes fail."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mambaseg.volume import Volume

LPS = np.diag([-1.0, -1.0, 5.0, 1.0])


@pytest.fixture(autouse=True)
def _no_models_of_the_user(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MAMBASEG_HOME", str(tmp_path_factory.mktemp("home")))


def ball(shape=(40, 36, 6), centre=(20, 16, 3), radius=7.0):
    """A bright ball in a grey head in dark air, and the ball's mask."""
    i, j, k = np.ogrid[: shape[0], : shape[1], : shape[2]]
    head = ((i - shape[0] / 2) / (0.42 * shape[0])) ** 2 + ((j - shape[1] / 2) / (0.42 * shape[1])) ** 2 < 1
    inside = (i - centre[0]) ** 2 + (j - centre[1]) ** 2 + (3 * (k - centre[2])) ** 2 < radius**2
    noise = np.random.default_rng(0).normal(0, 3, shape)
    return (100 * (head & np.ones(shape, bool)) + 120 * inside + noise).astype(np.float32), inside & True


@pytest.fixture
def volume():
    image, _ = ball()
    return Volume(image[None], LPS, ("flair",))


@pytest.fixture
def nifti(tmp_path):
    """Write a case as a person would have it; returns the path."""

    def write(array=None, affine=LPS, name="case7_flair.nii.gz"):
        image = nib.Nifti1Image(ball()[0] if array is None else array, affine)
        image.header.set_xyzt_units("mm")
        path = tmp_path / name
        nib.save(image, path)
        return path

    return write


@pytest.fixture
def small_model():
    """A tiny network with fixed random weights."""
    import torch

    from mambaseg.card import Card, Channel, LabelSpec
    from mambaseg.checkpoint import make_checkpoint
    from mambaseg.config import MambaSeg2dConfig, PrepareConfig
    from mambaseg.network import build

    torch.manual_seed(3)
    network = MambaSeg2dConfig(widths=(4, 8, 8, 8, 8), depths=(1, 1, 1, 1, 1), head_dim=4, state=4)
    channels = (Channel(name="flair"), *(Channel(name=n, required=False) for n in ("t1", "t1c")))
    card = Card(
        name="tiny",
        version="1.0",
        network=network,
        prepare=PrepareConfig(),
        channels=channels,
        labels=(LabelSpec(value=1, name="tumour"),),
        parameters=0,
    )
    built = build(network)
    with torch.no_grad():  # steep enough that some voxels lie on either side of one half
        built.heads[0].weight.mul_(200)
        built.heads[0].bias.fill_(-float(built.heads[0].weight.sum()) * 0.05)
    return make_checkpoint(card, built)


@pytest.fixture
def data_set(tmp_path):
    """Three train and two val cases in nnU-Net's layout; one case lacks T1."""
    folder = tmp_path / "data"
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    cases = [f"case{n}" for n in range(5)]
    for n, case in enumerate(cases):
        image, mask = ball(centre=(16 + 2 * n, 16, 3))
        for channel in range(2):
            if (n, channel) != (1, 1):
                nib.save(nib.Nifti1Image(image + channel, LPS), folder / "imagesTr" / f"{case}_{channel:04d}.nii.gz")
        nib.save(nib.Nifti1Image(mask.astype(np.uint8), LPS), folder / "labelsTr" / f"{case}.nii.gz")
    description = {"channel_names": {"0": "flair", "1": "t1"}, "labels": {"background": 0, "tumour": 1}}
    (folder / "dataset.json").write_text(json.dumps(description))
    (folder / "splits.json").write_text(json.dumps({"train": cases[:3], "val": cases[3:]}))
    return folder


@pytest.fixture(scope="session")
def real_data():
    """The folder of real MRI beside the project; tests that need it are skipped where it is absent."""
    folder = Path(__file__).parents[2].parent / "shared" / "data"
    if not (folder / "unpack.py").is_file():
        pytest.skip("the real data set is not beside this checkout")
    return folder
