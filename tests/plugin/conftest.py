from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel
from npe2 import PluginManager
from plugin_cases import SHAPE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path



@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for what the plugin keeps, and preferences of its own: tests leave the user's alone."""
    preferences = SimpleNamespace(device="auto", backend="auto", uncertainty=False, autosave_seconds=20)
    preferences.events = SimpleNamespace(connect=lambda callback: None, disconnect=lambda callback: None)
    monkeypatch.setattr("napari_mambaseg._preferences._group", lambda: preferences)
    monkeypatch.setenv("MAMBASEG_HOME", str(tmp_path / "mambaseg-home"))
    return tmp_path / "mambaseg-home"


@pytest.fixture
def viewer() -> Iterator[ViewerModel]:
    """A viewer without a window, which knows the installed plugins."""
    PluginManager.instance().discover()
    yield ViewerModel()


@pytest.fixture
def save_nifti(tmp_path: Path) -> Callable[..., Path]:
    """Write an array as NIfTI with nibabel, not with our own writer."""

    def save(data: np.ndarray, affine: np.ndarray, name: str = "case.nii.gz") -> Path:
        image = nib.Nifti1Image(data, affine)
        image.header.set_xyzt_units("mm", "sec")
        path = tmp_path / name
        nib.save(image, path)
        return path

    return save


@pytest.fixture
def scan() -> np.ndarray:
    return np.random.default_rng(0).normal(100, 20, SHAPE).astype(np.float32)


@pytest.fixture
def mask() -> np.ndarray:
    """Asymmetric in every axis, so that no flip or transposition goes unseen."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:4, 2:7, 3:5] = 1
    mask[2, 3, 3] = 3
    return mask
