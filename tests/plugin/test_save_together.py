"""Files that belong together are all saved or not at all; whatever goes wrong is one sentence."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
import pytest
from napari.layers import Image, Labels
from plugin_cases import PLUGIN, STRAIGHT

from mambaseg.errors import FileError, MambaSegError, VolumeError
from mambaseg.label_table import read_label_table
from mambaseg.volume import Label, LabelMap, Volume
from napari_mambaseg import show
from napari_mambaseg._layers import labels_layer
from napari_mambaseg._writer import write_labels, write_layers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari.components import ViewerModel

NAMES = {1: Label("tumour", "#e69f00"), 3: Label("oedema", "#56b4e9")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def case(viewer: ViewerModel, scan, mask) -> ViewerModel:
    """An image and a mask with names, both open."""
    show(viewer, Volume(scan[None], STRAIGHT["PIL"], ("flair",)))
    show(viewer, LabelMap(mask, STRAIGHT["PIL"], NAMES), name="tumour")
    return viewer


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def fail_at(monkeypatch: pytest.MonkeyPatch, name: str, number: int, code: int) -> None:
    """Let the `number`th call of a function of os fail as a disk would; moves into hiding do not count."""
    true, calls = getattr(os, name), []

    def failing(*given: Any, **options: Any) -> Any:
        if name != "replace" or ".mambaseg-" not in str(given[1]):
            calls.append(given)
            if len(calls) == number:
                raise OSError(code, os.strerror(code))
        return true(*given, **options)

    monkeypatch.setattr(os, name, failing)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_full_disk_leaves_nothing_behind(case: ViewerModel, folder: Path, monkeypatch, number: int):
    fail_at(monkeypatch, "fsync", 2 * number - 1, errno.ENOSPC)
    with pytest.raises(FileError, match=r"case_\w+\.\S+ could not be written: no space left") as caught:
        case.layers.save(str(folder / "case.nii.gz"), plugin=PLUGIN)
    assert ".mambaseg-" not in str(caught.value)
    assert names_in(folder) == []


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_name_that_cannot_be_given_brings_older_files_back(case: ViewerModel, folder: Path, monkeypatch, number: int):
    (folder / "case_flair.nii.gz").write_text("older")
    fail_at(monkeypatch, "replace", number, errno.EACCES)
    with pytest.raises(FileError, match=r"case_\w+\.\S+ could not be written"):
        case.layers.save(str(folder / "case.nii.gz"), plugin=PLUGIN)
    assert names_in(folder) == ["case_flair.nii.gz"]
    assert (folder / "case_flair.nii.gz").read_text() == "older"


def test_older_files_are_replaced_and_keep_their_permissions(case: ViewerModel, folder: Path, mask):
    old = folder / "case_tumour.nii.gz"
    old.write_text("older")
    old.chmod(0o640)
    case.layers.save(str(folder / "case.nii.gz"), plugin=PLUGIN)
    assert names_in(folder) == ["case_flair.nii.gz", "case_tumour.nii.gz", "case_tumour.tsv"]
    np.testing.assert_array_equal(np.asarray(nib.load(old).dataobj), mask)
    assert old.stat().st_mode & 0o777 == 0o640


def test_a_link_is_followed(case: ViewerModel, folder: Path, tmp_path: Path, mask):
    (tmp_path / "store").mkdir()
    (folder / "tumour.nii").symlink_to(tmp_path / "store" / "real.nii")
    case.layers["tumour"].save(str(folder / "tumour.nii"), plugin=PLUGIN)
    assert (folder / "tumour.nii").is_symlink()
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "store" / "real.nii").dataobj), mask)


def test_a_value_that_does_not_fit_stops_the_others_too(scan, folder: Path):
    layers = [(scan, {"name": "flair"}, "image"), (np.full((8, 9, 10), 70_000), {"name": "mask"}, "labels")]
    with pytest.raises(VolumeError, match="masks take integers from 0 to 65535"):
        write_layers(str(folder / "case.nii"), layers)
    assert names_in(folder) == []


def test_names_that_differ_in_capitals_alone_are_refused(scan, folder: Path):
    layers = [(scan, {"name": name}, "image") for name in ("T1", "t1")]
    with pytest.raises(FileError, match=r"two layers would be saved as case_t1.nii; give them names that differ"):
        write_layers(str(folder / "case.nii"), layers)
    assert names_in(folder) == []


@pytest.mark.parametrize("name", ["../../t1", "C:\\t1", ".t1.", "  ", "t1\n2", "é"])
def test_the_name_of_a_layer_never_leads_out_of_the_folder(scan, folder: Path, name: str):
    layers = [(scan, {"name": name}, "image"), (scan, {"name": "t2"}, "image")]
    written = write_layers(str(folder / "case.nii"), layers)
    assert names_in(folder) == sorted(os.path.basename(path) for path in written)
    assert len(written) == 2
    assert "\n" not in "".join(written)


def test_a_single_layer_gets_the_chosen_name(scan, folder: Path):
    assert write_layers(str(folder / "case.nii"), [(scan, {"name": "t1"}, "image")]) == [str(folder / "case.nii")]


def test_a_name_without_extension_gets_the_usual_one(scan, mask, folder: Path):
    layers = [(scan, {"name": "t1"}, "image"), (mask, {"name": "mask"}, "labels")]
    write_layers(str(folder / "case"), layers)
    assert names_in(folder) == ["case_mask.nii.gz", "case_t1.nii.gz"]
    assert write_labels(str(folder / "mask"), mask, {"name": "mask"}) == [str(folder / "mask.nii.gz")]


def test_a_folder_that_may_not_be_written_to_is_one_sentence(case: ViewerModel, folder: Path, monkeypatch):
    def refuse(*_: Any, **__: Any) -> Iterable[str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    with pytest.raises(FileError, match=r"could not be written \(Permission denied\); choose a folder") as caught:
        case.layers.save(str(folder / "case.nii.gz"), plugin=PLUGIN)
    assert "\n" not in str(caught.value)
    assert names_in(folder) == []


@pytest.mark.parametrize("layer", [Image(np.zeros((8, 9, 10))), Labels(np.zeros((8, 9, 10), int))])
@pytest.mark.parametrize("ending", [".hdr", ".nrrd", ".gz"])
def test_an_unknown_extension_is_told_by_napari(layer: Any, folder: Path, ending: str):
    with pytest.warns(UserWarning, match=f"Given plugin '{PLUGIN}' is not a valid writer for .*{ending}"):
        assert layer.save(str(folder / f"case{ending}"), plugin=PLUGIN) == []
    assert names_in(folder) == []


def test_a_folder_that_is_not_there_is_one_sentence(case: ViewerModel, folder: Path):
    with pytest.raises(FileError, match="does not exist; make it, or choose another folder"):
        case.layers.save(str(folder / "nowhere" / "case.nii.gz"), plugin=PLUGIN)


def test_a_table_that_says_the_same_and_more_is_left_alone(mask, folder: Path):
    text = "index\tname\tabbreviation\tcolor\n1\ttumour\tTU\t#e69f00\n3\toedema\tOE\t#56b4e9\n4\tcyst\tCY\t#000000\n"
    (folder / "mask.tsv").write_text(text)
    data, meta, _ = described(mask)
    assert write_labels(str(folder / "mask.nii"), data, meta) == [str(folder / "mask.nii")]
    assert (folder / "mask.tsv").read_text() == text


def test_a_table_that_says_something_else_is_replaced(mask, folder: Path):
    (folder / "mask.tsv").write_text("index\tname\tcolor\n1\tcyst\t#000000\n")
    data, meta, _ = described(mask)
    assert write_labels(str(folder / "mask.nii"), data, meta) == [str(folder / "mask.nii"), str(folder / "mask.tsv")]
    assert read_label_table(folder / "mask.nii") == NAMES


def test_a_failed_table_leaves_the_older_mask(mask, folder: Path, monkeypatch):
    (folder / "mask.nii").write_text("older")
    data, meta, _ = described(mask)

    def refuse(*_: Any) -> None:
        raise FileError("the table could not be written")

    monkeypatch.setattr("napari_mambaseg._writer.write_label_table", refuse)
    with pytest.raises(MambaSegError, match="the table could not be written"):
        write_labels(str(folder / "mask.nii"), data, meta)
    assert names_in(folder) == ["mask.nii"]
    assert (folder / "mask.nii").read_text() == "older"


def described(mask: np.ndarray) -> tuple[Any, dict[str, Any], str]:
    return labels_layer(LabelMap(mask, STRAIGHT["LPS"], NAMES), "mask")
