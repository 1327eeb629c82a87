"""Names and colours of labels beside a mask."""

from pathlib import Path

import pytest

from mambaseg.errors import FileError
from mambaseg.label_table import read_label_table, table_path, write_label_table
from mambaseg.volume import Label

LABELS = {1: Label("tumour", "#e69f00"), 3: Label("oedema, left\tside", "#56b4e9")}


def test_a_table_comes_back_as_it_was_written(tmp_path: Path):
    image = tmp_path / "case_dseg.nii.gz"
    assert write_label_table(LABELS, image) == tmp_path / "case_dseg.tsv"
    assert read_label_table(image) == LABELS


def test_a_mask_without_a_table_has_none(tmp_path: Path):
    assert read_label_table(tmp_path / "mask.mgz") is None


def test_a_table_as_bids_shows_it_is_read(tmp_path: Path):
    image = tmp_path / "sub-01_dseg.nii"
    table_path(image).write_text("index\tname\tabbreviation\tcolor\n0\tBackground\tBG\t#000000\n2\tGrey\tGM\tff53bb\n")
    assert read_label_table(image) == {2: Label("Grey", "#ff53bb")}


def test_a_table_from_a_spreadsheet_is_read_whatever_marks_its_start(tmp_path: Path):
    table_path(tmp_path / "mask.nii").write_text("index\tname\n1\ttumour\n", encoding="utf-8-sig")
    assert read_label_table(tmp_path / "mask.nii") == {1: Label("tumour", "#b0b0b0")}


def test_a_row_without_a_colour_is_grey(tmp_path: Path):
    image = tmp_path / "mask.nii"
    table_path(image).write_text("index\tname\n1\ttumour\n")
    assert read_label_table(image) == {1: Label("tumour", "#b0b0b0")}


@pytest.mark.parametrize(
    "text", ["", "subject\tage\n", "subject\tage\n1\t40\n", "index\tname\nx\ty\n", "index\tname\n1\n", "\xff\x00"]
)
def test_a_file_that_is_no_table_is_refused_and_never_overwritten(tmp_path: Path, text: str):
    image = tmp_path / "mask.nii"
    table_path(image).write_text(text, encoding="latin-1")
    with pytest.raises(FileError, match=r"mask.tsv beside mask.nii is no table of labels .* move it away"):
        write_label_table(LABELS, image)
    assert table_path(image).read_text(encoding="latin-1") == text


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path):
    with pytest.raises(FileError, match=r"mask.tsv could not be written .*; choose a folder that exists"):
        write_label_table(LABELS, tmp_path / "nowhere" / "mask.nii")
