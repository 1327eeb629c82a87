"""A file is replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from mambaseg.atomic import replacing
from mambaseg.errors import FileError


@pytest.mark.parametrize("name", ["metrics.json", "mask.nii.gz", "model.safetensors", "plain"])
def test_a_file_appears_whole_and_alone(tmp_path, name):
    with replacing(tmp_path / name) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
        assert "".join(temporary.suffixes[-2:]).endswith("".join((tmp_path / name).suffixes))
        temporary.write_text("new")
        assert not (tmp_path / name).exists()
    assert (tmp_path / name).read_text() == "new"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
def test_whatever_is_raised_the_old_file_stays_and_nothing_else(tmp_path, raised):
    (tmp_path / "a.json").write_text("old")
    with pytest.raises(raised), replacing(tmp_path / "a.json") as temporary:
        temporary.write_text("half")
        raise raised
    assert (tmp_path / "a.json").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_with_what_is_free(tmp_path, code):
    (tmp_path / "a.json").write_text("old")
    match = r"a\.json could not be written: no space left on its disk or in your quota, free \d+ MB; remove"
    with pytest.raises(FileError, match=match) as caught, replacing(tmp_path / "a.json"):
        raise OSError(code, os.strerror(code))
    assert "\n" not in str(caught.value)
    assert (tmp_path / "a.json").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_disk_that_fails_at_the_end_leaves_the_old_file(tmp_path, monkeypatch, function):
    (tmp_path / "a.json").write_text("old")

    def failing(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, function, failing)
    with pytest.raises(FileError, match=r"\(Input/output error\)"), replacing(tmp_path / "a.json") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a.json").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_folder_that_cannot_be_flushed_does_not_fail_the_write(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    with replacing(tmp_path / "a.json") as temporary:
        temporary.write_text("new")
        monkeypatch.setattr(os, "open", refused)
    monkeypatch.undo()
    assert (tmp_path / "a.json").read_text() == "new"


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(FileError, match=r"\(No such file or directory\)"), replacing(tmp_path / "none" / "a.json"):
        pytest.fail("the block must not run")


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    with replacing(tmp_path / "link.json") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "new"


def test_permissions_are_those_of_the_old_file(tmp_path):
    (tmp_path / "a.json").write_text("old")
    (tmp_path / "a.json").chmod(0o640)
    with replacing(tmp_path / "a.json") as temporary:
        temporary.write_text("new")
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o640


def test_the_longest_name_that_a_disk_takes_can_be_written(tmp_path):
    name = "a" * 247 + ".nii.gz"
    with replacing(tmp_path / name) as temporary:
        temporary.write_text("new")
    assert os.listdir(tmp_path) == [name]
