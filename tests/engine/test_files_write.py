"""Writing: types, channels, bytes, refusals; files are checked with nibabel."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest

from mambaseg.errors import FileError, VolumeError
from mambaseg.files import check_writable_target, read, read_labels, write
from mambaseg.volume import LabelMap, Volume

SHAPE = (8, 9, 10)
AFFINE = np.array([[-1, 0, 0, 30.5], [0, 1.5, 0, -12], [0, 0, 3, 7], [0, 0, 0, 1]])


def mask(highest=3, dtype="uint8"):
    data = np.zeros(SHAPE, dtype)
    data[2:5, 3:6, 4:9] = 1
    data[3, 4, 5] = highest
    return LabelMap(data, AFFINE)


def probabilities(channels):
    data = np.random.default_rng(0).random((channels, *SHAPE), np.float32)
    return Volume(data, AFFINE, tuple(f"p{n}" for n in range(channels)))


@pytest.mark.parametrize(("highest", "dtype"), [(3, "uint8"), (255, "uint8"), (256, "uint16"), (65535, "uint16")])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_mask_takes_the_smallest_type(tmp_path, highest, dtype, suffix):
    write(mask(highest, "uint32"), tmp_path / f"mask{suffix}")
    written = nib.load(tmp_path / f"mask{suffix}")
    assert written.get_data_dtype() == dtype
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), mask(highest, "uint32").data)
    assert read_labels(tmp_path / f"mask{suffix}").data.dtype == dtype


@pytest.mark.parametrize(("highest", "dtype"), [(255, "u1"), (32767, "i2"), (32768, "i4"), (70000, "i4")])
def test_a_mask_in_mgz_takes_a_type_that_freesurfer_reads(tmp_path, highest, dtype):
    write(mask(highest, "uint32"), tmp_path / "mask.mgz")
    assert nib.load(tmp_path / "mask.mgz").get_data_dtype() == np.dtype(f">{dtype}")
    np.testing.assert_array_equal(read_labels(tmp_path / "mask.mgz").data, mask(highest, "uint32").data)


def test_a_mask_with_more_labels_than_sixteen_bits_is_refused(tmp_path):
    with pytest.raises(VolumeError, match=r"values from 0 to 65536; masks take integers from 0 to 65535"):
        write(mask(65536, "uint32"), tmp_path / "mask.nii")
    assert os.listdir(tmp_path) == []


def test_a_value_beyond_mgz_is_refused(tmp_path):
    with pytest.raises(VolumeError, match=r"0 to 4294967295 do not fit into MGZ"):
        write(mask(2**32 - 1, "uint32"), tmp_path / "mask.mgz")


def test_an_empty_array_is_refused(tmp_path):
    with pytest.raises(VolumeError, match="is no volume"):
        write(LabelMap(np.zeros((8, 0, 10), np.uint8), AFFINE), tmp_path / "mask.nii")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mgz"])
@pytest.mark.parametrize("channels", [1, 3])
def test_real_numbers_become_float32_with_channels_last(tmp_path, name, channels, order):
    volume = probabilities(channels)
    volume = Volume(np.asarray(volume.data.astype(np.float64), order=order), AFFINE, volume.channels)
    write(volume, tmp_path / name)
    written = nib.load(tmp_path / name)
    assert written.shape == (SHAPE if channels == 1 else (*SHAPE, channels))
    assert written.get_data_dtype().newbyteorder("=") == np.float32
    array = np.asanyarray(written.dataobj)
    for n in range(channels):
        np.testing.assert_array_equal(array if channels == 1 else array[..., n], volume.data[n])
    back = read(tmp_path / name, volume.channels)
    assert back.channels == volume.channels
    np.testing.assert_array_equal(back.data, volume.data)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "int32"])
@pytest.mark.parametrize("name", ["a.nii.gz", "a.mgz"])
def test_integers_survive(tmp_path, dtype, name):
    data = np.arange(720).reshape(1, *SHAPE).astype(dtype)
    write(Volume(data, AFFINE, ("t1",)), tmp_path / name)
    np.testing.assert_array_equal(np.asanyarray(nib.load(tmp_path / name).dataobj), data[0])


def test_nan_and_inf_are_written_and_read_unchecked(tmp_path):
    data = np.full((1, *SHAPE), np.nan, np.float32)
    data[0, 0] = np.inf
    write(Volume(data, AFFINE, ("t1",)), tmp_path / "a.nii")
    np.testing.assert_array_equal(read(tmp_path / "a.nii").data, data)


def test_channels_are_named_after_the_file(tmp_path):
    for n, names in ((1, ("case7_flair",)), (2, ("case7_flair_0", "case7_flair_1"))):
        write(probabilities(n), tmp_path / "case7_flair.nii.gz")
        assert read(tmp_path / "case7_flair.nii.gz").channels == names
    assert read(tmp_path / "case7_flair.nii.gz", ["t1", "t2"]).channels == ("t1", "t2")


def test_a_last_axis_of_one_is_a_plain_volume(tmp_path):
    nib.save(nib.Nifti1Image(np.ones((*SHAPE, 1), np.int16), AFFINE), tmp_path / "a.nii")
    volume = read(tmp_path / "a.nii")
    assert volume.data.shape == (1, *SHAPE)
    assert volume.channels == ("a",)


def test_what_is_read_can_be_changed(tmp_path):
    write(mask(), tmp_path / "mask.nii.gz")
    read(tmp_path / "mask.nii.gz").data[:] = 0


def test_the_same_mask_gives_the_same_bytes(tmp_path):
    write(mask(), tmp_path / "one.nii.gz")
    time.sleep(1.1)  # gzip keeps whole seconds
    write(mask(), tmp_path / "two.nii.gz")
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "two.nii.gz").read_bytes()


@pytest.mark.parametrize("name", ["mask.txt", "mask.mgh", "mask.gz", "mask", "mask.hdr"])
def test_an_unknown_extension_is_refused_with_the_known_ones(tmp_path, name):
    with pytest.raises(FileError, match=r"unknown extension; give a name ending in \.nii\.gz, \.nii or \.mgz$"):
        write(mask(), tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path, monkeypatch):
    write(mask(2), tmp_path / "mask.nii.gz")
    old = (tmp_path / "mask.nii.gz").read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mambaseg.files.nifti.header_bytes", full)
    with pytest.raises(FileError, match=r"mask\.nii\.gz could not be written: no space left .*, free \d+ MB; remove"):
        write(mask(3), tmp_path / "mask.nii.gz")
    assert (tmp_path / "mask.nii.gz").read_bytes() == old
    assert os.listdir(tmp_path) == ["mask.nii.gz"]


def test_a_disk_that_returns_other_voxels_is_noticed(tmp_path, monkeypatch):
    write(mask(2), tmp_path / "mask.nii.gz")
    old = (tmp_path / "mask.nii.gz").read_bytes()
    monkeypatch.setattr("mambaseg.files.read", lambda _: Volume(mask(1).data[None], AFFINE, ("x",)))
    with pytest.raises(FileError, match="was not written: the voxels read back from the disk differ"):
        write(mask(3), tmp_path / "mask.nii.gz")
    assert (tmp_path / "mask.nii.gz").read_bytes() == old
    assert os.listdir(tmp_path) == ["mask.nii.gz"]


def test_a_disk_that_returns_another_place_is_noticed(tmp_path, monkeypatch):
    moved = AFFINE + 0.01 * np.eye(4, k=3)
    monkeypatch.setattr("mambaseg.files.read", lambda _: Volume(mask().data[None], moved, ("x",)))
    with pytest.raises(FileError, match=r"was not written: the geometry \(corners 0.01 mm off\)"):
        write(mask(), tmp_path / "mask.nii.gz")
    assert os.listdir(tmp_path) == []


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path):
    write(mask(2), tmp_path / "mask.nii")
    old = (tmp_path / "mask.nii").read_bytes()
    script = (
        "import os, sys; import mambaseg.files as files\n"
        "labels = files.read_labels(sys.argv[1])\n"
        "files._verify = lambda *_: os.kill(os.getpid(), 9)\n"
        "files.write(labels, sys.argv[1])\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, tmp_path / "mask.nii"], check=False)
    assert ended.returncode == -9
    assert (tmp_path / "mask.nii").read_bytes() == old
    assert all(name == "mask.nii" or name.startswith(".mambaseg-") for name in os.listdir(tmp_path))


def test_a_new_target_in_a_sound_folder_is_accepted(tmp_path):
    check_writable_target(tmp_path / "mask.nii.gz")
    check_writable_target(tmp_path / "report.json", extensions=(".json",))
    assert os.listdir(tmp_path) == []


def test_a_target_that_is_a_folder_is_refused(tmp_path):
    with pytest.raises(FileError, match="is a folder; give the name of a file in it"):
        check_writable_target(tmp_path)


def test_a_target_with_an_unknown_extension_is_refused(tmp_path):
    with pytest.raises(FileError, match=r"unknown extension; give a name ending in \.nii\.gz, \.nii or \.mgz"):
        check_writable_target(tmp_path / "mask.png")


def test_a_target_in_no_folder_is_refused(tmp_path):
    with pytest.raises(FileError, match="does not exist; make it"):
        check_writable_target(tmp_path / "none" / "mask.nii")
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="is a file; make it"):
        check_writable_target(tmp_path / "file" / "mask.nii")


@pytest.mark.parametrize("link", ["same", "symbolic", "hard", "dots"])
def test_a_target_that_is_an_input_is_refused(tmp_path, link):
    write(mask(), tmp_path / "image.nii")
    target = tmp_path / "image.nii"
    if link == "symbolic":
        target = tmp_path / "link.nii"
        target.symlink_to(tmp_path / "image.nii")
    if link == "hard":
        target = tmp_path / "link.nii"
        target.hardlink_to(tmp_path / "image.nii")
    if link == "dots":
        target = tmp_path / ".." / tmp_path.name / "image.nii"
    with pytest.raises(FileError, match=r"is also an input .*; give the output another name"):
        check_writable_target(target, [tmp_path / "gone.nii", tmp_path / "image.nii"])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_folder_that_takes_no_files_is_refused():
    with pytest.raises(FileError, match=r"could not be written \(.*\); choose a folder"):
        check_writable_target("/proc/mask.nii")
    with pytest.raises(FileError, match=r"could not be written \(.*\); choose a folder"):
        write(mask(), "/proc/mask.nii")


def test_a_read_only_disk_is_told(tmp_path, monkeypatch):
    def read_only(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", read_only)
    with pytest.raises(FileError, match=r"could not be written \(Read-only file system\)"):
        check_writable_target(tmp_path / "mask.nii")


def test_a_write_protected_target_is_refused(tmp_path, monkeypatch):
    write(mask(), tmp_path / "mask.nii")
    monkeypatch.setattr("mambaseg.files.os.access", lambda *_: False)  # root may always
    with pytest.raises(FileError, match="exists and is write-protected"):
        check_writable_target(tmp_path / "mask.nii")
