"""Each way a file can be wrong has its own message, in one line, and raises nothing but MambaSegError."""

from __future__ import annotations

import gzip
import os
import zlib

import nibabel as nib
import numpy as np
import pytest

from mambaseg.errors import FileError, MambaSegError, VolumeError
from mambaseg.files import read, read_labels

SHAPE = (8, 9, 10)


def save(path, data=None, affine=None):
    data = np.zeros(SHAPE, np.int16) if data is None else data
    nib.save(nib.Nifti1Image(data, np.eye(4) if affine is None else affine), path)
    return path


def patch(path, **fields):
    """Change header fields of an uncompressed NIfTI-1 behind nibabel's back."""
    content = path.read_bytes()
    header = nib.Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + content[348:])
    return path


def refused(path, error, match):
    with pytest.raises(error, match=match) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert str(path.name) in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    refused(tmp_path / "none.nii", FileError, "none.nii does not exist; check the spelling")


def test_a_link_to_nothing_is_refused(tmp_path):
    (tmp_path / "link.nii").symlink_to(tmp_path / "gone.nii")
    refused(tmp_path / "link.nii", FileError, "does not exist")


def test_a_folder_is_refused(tmp_path):
    refused(tmp_path, FileError, r"is a folder; folders are not read yet; give one file ending in \.nii\.gz, ")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.nii")
    refused(tmp_path / "pipe.nii", FileError, "is a device or a pipe")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.hdr", "a.mgz", "a.mgh"])
def test_an_empty_file_is_refused(tmp_path, name):
    (tmp_path / name).touch()
    refused(tmp_path / name, FileError, "is empty")


@pytest.mark.parametrize("name", ["a.txt", "a.nii.bz2", "a.dcm", "a", "a.gz", "a.nrrd"])
def test_an_unknown_extension_is_refused_with_the_known_ones(tmp_path, name):
    (tmp_path / name).write_bytes(b"content")
    refused(tmp_path / name, FileError, r"unknown extension; give a name ending in \.nii\.gz, .* or \.mgh")


@pytest.mark.parametrize("name", ["a.nii", "a.mgh"])
def test_text_under_the_name_of_a_volume_is_refused(tmp_path, name):
    (tmp_path / name).write_text("patient,age\n" * 100)
    refused(tmp_path / name, FileError, "no usable .* header")


def test_text_shorter_than_a_header_is_refused(tmp_path):
    (tmp_path / "a.nii").write_text("hello")
    refused(tmp_path / "a.nii", FileError, "is truncated")


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mgz"])
def test_an_uncompressed_file_under_a_compressed_name_is_refused(tmp_path, name):
    save(tmp_path / "plain.nii").rename(tmp_path / name)
    refused(tmp_path / name, FileError, "damaged or not compressed with gzip")


def test_a_compressed_file_under_a_plain_name_is_refused(tmp_path):
    save(tmp_path / "packed.nii.gz").rename(tmp_path / "a.nii")
    refused(tmp_path / "a.nii", FileError, "is compressed with gzip, but its name ends in .nii; rename")


@pytest.mark.parametrize("keep", [5, 100, 300, 0.5, -1])
def test_a_truncated_gzip_is_refused_in_one_line(tmp_path, keep):
    save(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 999, SHAPE).astype(np.int16))
    content = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(content[: int(len(content) * keep) if keep == 0.5 else keep])
    refused(tmp_path / "a.nii.gz", FileError, "is truncated")


def test_a_flipped_bit_in_a_gzip_is_noticed(tmp_path):
    """Nibabel alone loads such a file without a word: it never reaches the checksum at the end."""
    save(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 999, SHAPE).astype(np.int16))
    content = bytearray((tmp_path / "a.nii.gz").read_bytes())
    for place in range(20, len(content), 97):
        content[place] ^= 1
        (tmp_path / "a.nii.gz").write_bytes(content)
        content[place] ^= 1
        with pytest.raises(MambaSegError):
            read(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("keep", [100, 348, 352, 400, -1])
def test_a_truncated_plain_file_is_refused(tmp_path, keep):
    save(tmp_path / "a.nii").write_bytes((tmp_path / "a.nii").read_bytes()[:keep])
    refused(tmp_path / "a.nii", FileError, "is truncated")


@pytest.mark.parametrize("given", ["a.hdr", "a.img"])
def test_half_of_a_pair_is_refused(tmp_path, given):
    nib.save(nib.Nifti1Pair(np.zeros(SHAPE, np.uint8), np.eye(4)), tmp_path / "a.img")
    (tmp_path / ("a.img" if given == "a.hdr" else "a.hdr")).unlink()
    refused(tmp_path / given, FileError, "is half of a pair")


def test_a_truncated_pair_is_refused(tmp_path):
    nib.save(nib.Nifti1Pair(np.zeros(SHAPE, np.uint8), np.eye(4)), tmp_path / "a.img")
    os.truncate(tmp_path / "a.img", 700)
    refused(tmp_path / "a.hdr", FileError, "is truncated")


def test_an_analyze_file_without_orientation_is_refused(tmp_path):
    nib.save(nib.AnalyzeImage(np.zeros(SHAPE, np.uint8), np.eye(4)), tmp_path / "a.img")
    refused(tmp_path / "a.hdr", FileError, "does not start with a NIfTI header")


@pytest.mark.parametrize("shape", [(8,), (8, 9), (8, 9, 10, 2, 3)])
def test_other_than_three_or_four_dimensions_are_refused(tmp_path, shape):
    save(tmp_path / "a.nii", np.zeros(shape, np.int16))
    refused(tmp_path / "a.nii", VolumeError, f"has {len(shape)} dimensions, .*; give a volume")


@pytest.mark.parametrize("shape", [(8, 0, 10), (8, 9, 10, 0)])
def test_an_axis_of_length_zero_is_refused(tmp_path, shape):
    patch(save(tmp_path / "a.nii"), dim=[len(shape), *shape] + [1] * (7 - len(shape)))
    refused(tmp_path / "a.nii", VolumeError, "has an axis without voxels")


def test_complex_numbers_are_refused(tmp_path):
    save(tmp_path / "a.nii", np.zeros(SHAPE, np.complex64))
    refused(tmp_path / "a.nii", VolumeError, "are complex numbers; give integers or real numbers")


def test_colours_are_refused(tmp_path):
    save(tmp_path / "a.nii", np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")]))
    refused(tmp_path / "a.nii", VolumeError, r"are colours \(RGB\)")


def test_an_unknown_data_type_is_refused(tmp_path):
    patch(save(tmp_path / "a.nii"), datatype=77)
    refused(tmp_path / "a.nii", FileError, "data code 77 not recognized")


def test_a_singular_affine_is_refused(tmp_path):
    patch(save(tmp_path / "a.nii"), srow_y=[0, 0, 0, 5])
    refused(tmp_path / "a.nii", VolumeError, "is singular")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_affine_or_a_spacing_that_is_not_finite_is_refused(tmp_path, value):
    patch(save(tmp_path / "a.nii"), srow_x=[value, 0, 0, 5])
    refused(tmp_path / "a.nii", VolumeError, "is not a 4x4 matrix of finite numbers")
    patch(save(tmp_path / "a.nii"), pixdim=[1, 1, value, 1, 1, 1, 1, 1])
    refused(tmp_path / "a.nii", VolumeError, r"the voxel size \(pixdim\) is \[1.0, (nan|inf), 1.0\]")
    patch(save(tmp_path / "a.nii"), qoffset_z=value, qform_code=1, sform_code=0)
    refused(tmp_path / "a.nii", VolumeError, "is not a 4x4 matrix of finite numbers")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_absurd_dimensions_are_refused_before_any_memory_is_taken(tmp_path, suffix):
    patch(save(tmp_path / "a.nii"), dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / f"b{suffix}").write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    refused(tmp_path / f"b{suffix}", FileError, "is truncated")


def test_too_little_memory_is_told(tmp_path, monkeypatch):
    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr("mambaseg.layout.read_exactly", exhausted)
    refused(save(tmp_path / "a.nii"), FileError, "needs more memory than there is")


@pytest.mark.parametrize("where", ["mambaseg.reading.open", "mambaseg.layout.open"])
def test_an_unreadable_file_is_refused(tmp_path, monkeypatch, where):
    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    save(tmp_path / "a.nii")
    monkeypatch.setattr(where, forbidden, raising=False)
    refused(tmp_path / "a.nii", FileError, r"cannot be read \(Permission denied\); check its permissions")


def test_a_file_name_with_a_line_break_still_gives_one_line(tmp_path):
    (tmp_path / "a\nb.nii").touch()
    with pytest.raises(FileError, match=r"a b\.nii is empty"):
        read(tmp_path / "a\nb.nii")


@pytest.mark.parametrize("name", ["a.nii", "a.mgh"])
def test_random_damage_to_a_header_raises_nothing_else(tmp_path, name):
    generator = np.random.default_rng(3)
    image = nib.Nifti1Image if name == "a.nii" else nib.MGHImage
    sound = image(np.zeros(SHAPE, np.int16), np.eye(4)).to_bytes()
    for _ in range(300):
        content = bytearray(sound)
        for place in generator.integers(0, 348 if name == "a.nii" else 90, 3):
            content[place] = generator.integers(256)
        (tmp_path / name).write_bytes(content)
        try:
            read(tmp_path / name)
        except MambaSegError as error:
            assert "\n" not in str(error)


def test_damage_that_zlib_notices_is_told(tmp_path, monkeypatch):
    def damaged(*_):
        raise zlib.error("Error -3 while decompressing data")

    monkeypatch.setattr("mambaseg.nifti.read_exactly", damaged)
    refused(save(tmp_path / "a.nii.gz"), FileError, "is damaged or not compressed")


def test_names_that_do_not_match_the_channels_are_refused(tmp_path):
    save(tmp_path / "a.nii", np.zeros((*SHAPE, 2), np.int16))
    with pytest.raises(VolumeError, match=r"a\.nii: 1 channel names .* were given for 2 channels"):
        read(tmp_path / "a.nii", ["flair"])


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (np.full(SHAPE, 0.5, np.float32), "fractions or NaN"),
        (np.full(SHAPE, np.nan, np.float32), "fractions or NaN"),
        (np.full(SHAPE, -1, np.int16), "values from -1 to -1; give a mask"),
        (np.full(SHAPE, -1, np.float32), "values from -1 to -1; give a mask"),
        (np.zeros((*SHAPE, 2), np.uint8), "has 2 channels; give a mask"),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path, data, match):
    save(tmp_path / "a.nii", data)
    with pytest.raises(VolumeError, match=match):
        read_labels(tmp_path / "a.nii")
