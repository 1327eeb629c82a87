"""A mask lies on its image: header fields and corners, judged with nibabel alone."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine

from mambaseg.files import read, read_labels, write
from mambaseg.volume import LabelMap

SHAPE = (8, 9, 10)
FIELDS = ("sform_code", "qform_code", "xyzt_units", "pixdim", "quatern_b", "quatern_c", "quatern_d", "qoffset_x",
          "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z")  # fmt: skip
ANISOTROPIC = np.diag([0.9, 1.3, 4.2])
TURN = nib.eulerangles.euler2mat(0.2, -0.3, 0.4)
SHEAR = np.array([[1, 0.1, 0], [0, 1, 0.2], [0, 0, 1]])
ORIENTATIONS = [
    np.eye(3)[list(order)] * signs
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
CORNERS = np.array(list(itertools.product(*((0, n - 1) for n in SHAPE))))


def affine_of(matrix) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = (-80.5, 12.25, 61.125)
    return affine


def voxels(dtype="int16") -> np.ndarray:
    return np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(dtype)


def mask_of(volume) -> LabelMap:
    data = (np.indices(volume.shape).sum(0) % 4).astype(np.uint8)
    return LabelMap(data, volume.affine, stored=volume.stored)


def check_mask_lies_on(source, mask, folder):
    """Write the mask and compare what nibabel sees of both files."""
    write(mask, folder / "mask.nii.gz")
    written, image = nib.load(folder / "mask.nii.gz"), nib.load(source)
    assert written.shape == image.shape[:3]
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), mask.data)
    for name in FIELDS:
        np.testing.assert_array_equal(written.header[name], image.header[name], err_msg=name)
    np.testing.assert_array_equal(apply_affine(written.affine, CORNERS), apply_affine(image.affine, CORNERS))
    assert written.header["scl_slope"] in (0, 1) or np.isnan(written.header["scl_slope"])


@pytest.mark.parametrize("kind", ["anisotropic", "oblique", "sheared"])
@pytest.mark.parametrize("n", range(48))
def test_a_mask_has_the_header_of_its_image_in_every_orientation(tmp_path, n, kind):
    more = {"anisotropic": np.eye(3), "oblique": TURN, "sheared": TURN @ SHEAR}[kind]
    affine = affine_of(more @ ORIENTATIONS[n] @ ANISOTROPIC)
    image = nib.Nifti1Image(voxels(), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, n % 3)
    nib.save(image, tmp_path / "image.nii")
    volume = read(tmp_path / "image.nii")
    np.testing.assert_array_equal(volume.data[0], voxels())
    np.testing.assert_allclose(volume.affine, affine, rtol=1e-6, atol=1e-5)
    check_mask_lies_on(tmp_path / "image.nii", mask_of(volume), tmp_path)


@pytest.mark.parametrize("sform_code", [0, 1, 4])
@pytest.mark.parametrize("qform_code", [0, 1, 3])
@pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti2Image])
def test_codes_of_both_forms_are_kept(tmp_path, sform_code, qform_code, image_class):
    image = image_class(voxels(), None)
    image.set_sform(affine_of(ANISOTROPIC), sform_code)
    image.set_qform(affine_of(TURN @ ANISOTROPIC), qform_code)
    nib.save(image, tmp_path / "image.nii.gz")
    volume = read(tmp_path / "image.nii.gz")
    np.testing.assert_array_equal(volume.affine, nib.load(tmp_path / "image.nii.gz").affine)
    check_mask_lies_on(tmp_path / "image.nii.gz", mask_of(volume), tmp_path)


def test_forms_that_disagree_are_told(tmp_path):
    image = nib.Nifti1Image(voxels(), None)
    image.set_sform(affine_of(np.diag([-1, 1, 1])), 2)
    image.set_qform(affine_of(np.eye(3)), 1)
    nib.save(image, tmp_path / "image.nii")
    (warning,) = read(tmp_path / "image.nii").warnings
    assert "disagree by up to 14.0 mm; the sform is used" in warning


def test_forms_that_agree_within_a_tenth_of_a_millimetre_are_not_told(tmp_path):
    image = nib.Nifti1Image(voxels(), None)
    image.set_sform(affine_of(np.eye(3)) + np.eye(4, k=3) * 0.05, 2)
    image.set_qform(affine_of(np.eye(3)), 1)
    nib.save(image, tmp_path / "image.nii")
    assert read(tmp_path / "image.nii").warnings == ()


def test_a_header_without_orientation_is_told(tmp_path):
    image = nib.Nifti1Image(voxels(), None)
    nib.save(image, tmp_path / "image.nii")
    (warning,) = read(tmp_path / "image.nii").warnings
    assert "stores no orientation" in warning


def test_a_voxel_size_of_zero_is_told_and_kept(tmp_path, capfd):
    patched(tmp_path, {"sform_code": 0, "qform_code": 1, "pixdim": [0, 0, 2, 3, 0, 0, 0, 0]})
    volume = read(tmp_path / "image.nii")
    assert "voxel size [0.0, 2.0, 3.0]" in volume.warnings[0]
    assert volume.spacing_mm == (1, 2, 3)
    write(mask_of(volume), tmp_path / "mask.nii")
    assert raw_header(tmp_path / "mask.nii")["pixdim"].tolist() == [0, 0, 2, 3, 0, 0, 0, 0]
    assert capfd.readouterr().err == ""


def test_an_unreadable_qform_beside_a_sform_is_told(tmp_path):
    patched(tmp_path, {"quatern_b": 3.0, "qform_code": 1})
    assert "qform of the header is damaged" in read(tmp_path / "image.nii").warnings[0]
    patched(tmp_path, {"quatern_b": np.nan, "qform_code": 1})
    assert "qform of the header is damaged" in read(tmp_path / "image.nii").warnings[0]


def patched(folder, fields):
    """Write image.nii with header fields that nibabel would not write."""
    nib.save(nib.Nifti1Image(voxels(), affine_of(ANISOTROPIC)), folder / "image.nii")
    header = raw_header(folder / "image.nii")
    for name, value in fields.items():
        header[name] = value
    content = (folder / "image.nii").read_bytes()
    (folder / "image.nii").write_bytes(header.binaryblock + content[len(header.binaryblock) :])


def raw_header(path):
    return nib.Nifti1Header(path.read_bytes()[:348], check=False)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ"])
@pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti2Image])
def test_big_endian_files_come_back_native(tmp_path, suffix, image_class):
    header = image_class.header_class(endianness=">")
    header.set_data_dtype(">i2")
    image = image_class(voxels(), affine_of(TURN @ ANISOTROPIC), header)
    source = tmp_path / f"image{suffix}"
    nib.save(image, source)
    assert nib.load(source).header.endianness == ">"
    volume = read(source)
    assert volume.data.dtype == np.dtype("=i2")
    np.testing.assert_array_equal(volume.data[0], voxels())
    check_mask_lies_on(source, mask_of(volume), tmp_path)


def test_scaled_integers_become_float32_and_their_mask_is_unscaled(tmp_path):
    image = nib.Nifti1Image(voxels(), affine_of(ANISOTROPIC))
    image.header.set_data_dtype(np.int16)
    image.header.set_slope_inter(0.37, -11.5)
    image.to_filename(tmp_path / "image.nii.gz")
    source = nib.load(tmp_path / "image.nii.gz")
    assert source.dataobj.slope == pytest.approx(0.37)
    volume = read(tmp_path / "image.nii.gz")
    assert volume.data.dtype == np.float32
    np.testing.assert_array_equal(volume.data[0], source.get_fdata().astype(np.float32))
    check_mask_lies_on(tmp_path / "image.nii.gz", mask_of(volume), tmp_path)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_integers_keep_their_type(tmp_path, dtype):
    nib.save(nib.Nifti1Image(voxels("uint8").astype(dtype), np.eye(4), dtype=dtype), tmp_path / "image.nii")
    assert read(tmp_path / "image.nii").data.dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_real_numbers_become_float32(tmp_path, dtype):
    data = voxels(dtype) / 7
    data[0, 0, 0] = np.nan
    data[1, 0, 0] = 1e300 if dtype == "float64" else 1
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "image.nii")
    volume = read(tmp_path / "image.nii")
    assert volume.data.dtype == np.float32
    assert np.isnan(volume.data[0, 0, 0, 0])
    np.testing.assert_allclose(volume.data[0, 2:], data[2:], rtol=1e-6)


@pytest.mark.parametrize("pair_class", [nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize("given", [".hdr", ".img"])
def test_pairs_are_read_by_either_name(tmp_path, pair_class, given):
    nib.save(pair_class(voxels(), affine_of(TURN @ ANISOTROPIC)), tmp_path / "image.img")
    volume = read(tmp_path / f"image{given}")
    np.testing.assert_array_equal(volume.data[0], voxels())
    assert volume.channels == ("image",)
    check_mask_lies_on(tmp_path / "image.img", mask_of(volume), tmp_path)


@pytest.mark.parametrize(("unit", "code", "mm"), [("meter", 1, 1000), ("mm", 2, 1), ("micron", 3, 0.001),
                                                  ("unknown", 0, 1)])  # fmt: skip
@pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti2Image])
def test_units_are_applied_and_kept(tmp_path, unit, code, mm, image_class):
    affine = affine_of(TURN @ ANISOTROPIC)
    affine[:3] /= mm
    image = image_class(voxels(), affine)
    image.set_qform(affine, 1)
    image.header.set_xyzt_units(unit, "sec")
    nib.save(image, tmp_path / "image.nii")
    volume = read(tmp_path / "image.nii")
    assert volume.spacing_mm == pytest.approx((0.9, 1.3, 4.2))
    assert volume.stored.xyzt_units % 8 == code
    check_mask_lies_on(tmp_path / "image.nii", mask_of(volume), tmp_path)


def test_a_double_precision_nifti2_gives_a_nifti2_mask(tmp_path):
    affine = affine_of(ANISOTROPIC / 3)
    nib.save(nib.Nifti2Image(voxels(), affine), tmp_path / "image.nii.gz")
    check_mask_lies_on(tmp_path / "image.nii.gz", mask_of(read(tmp_path / "image.nii.gz")), tmp_path)
    assert isinstance(nib.load(tmp_path / "mask.nii.gz"), nib.Nifti2Image)


def test_a_nifti2_with_a_long_axis_gives_a_nifti2_mask(tmp_path):
    data = np.zeros((40_000, 2, 3), np.uint8)
    data[39_999, 1, 2] = 7
    nib.save(nib.Nifti2Image(data, np.eye(4)), tmp_path / "image.nii")
    volume = read(tmp_path / "image.nii")
    write(LabelMap(volume.data[0], volume.affine, stored=volume.stored), tmp_path / "mask.nii")
    written = nib.load(tmp_path / "mask.nii")
    assert written.shape == (40_000, 2, 3)
    assert written.dataobj[39_999, 1, 2] == 7


@pytest.mark.parametrize("suffix", [".mgz", ".mgh"])
@pytest.mark.parametrize("kind", ["anisotropic", "oblique", "sheared"])
def test_mgh_volumes_and_their_masks_share_a_grid(tmp_path, suffix, kind):
    more = {"anisotropic": np.eye(3), "oblique": TURN, "sheared": TURN @ SHEAR}[kind]
    source = tmp_path / f"image{suffix}"
    affine = affine_of(more @ ORIENTATIONS[11] @ ANISOTROPIC)
    nib.save(nib.MGHImage(voxels(), affine), source)
    volume = read(source)
    assert volume.stored is None
    assert volume.channels == ("image",)
    np.testing.assert_array_equal(volume.data[0], voxels())
    for name in ("mask.mgz", "mask.nii.gz"):
        write(mask_of(volume), tmp_path / name)
        written = nib.load(tmp_path / name)
        np.testing.assert_array_equal(np.asanyarray(written.dataobj), mask_of(volume).data)
        np.testing.assert_allclose(apply_affine(written.affine, CORNERS), apply_affine(affine, CORNERS), atol=1e-4)


def test_a_changed_affine_wins_over_the_stored_one(tmp_path):
    nib.save(nib.Nifti1Image(voxels(), affine_of(ANISOTROPIC)), tmp_path / "image.nii")
    stored = read(tmp_path / "image.nii").stored
    moved = affine_of(TURN @ ANISOTROPIC)
    write(LabelMap(voxels("uint16"), moved, stored=stored), tmp_path / "mask.nii")
    np.testing.assert_allclose(nib.load(tmp_path / "mask.nii").affine, moved, rtol=1e-6)


def test_a_volume_without_a_file_gets_both_forms_in_mm(tmp_path):
    write(LabelMap(voxels("uint16"), affine_of(TURN @ ANISOTROPIC)), tmp_path / "mask.nii")
    header = nib.load(tmp_path / "mask.nii").header
    assert (header["sform_code"], header["qform_code"], header["xyzt_units"]) == (1, 1, 2)
    np.testing.assert_allclose(header.get_qform(), affine_of(TURN @ ANISOTROPIC), atol=1e-4)
    np.testing.assert_allclose(header.get_sform(), affine_of(TURN @ ANISOTROPIC), atol=1e-4)


def test_a_shear_without_a_file_gets_no_qform_that_would_contradict(tmp_path):
    write(LabelMap(voxels("uint16"), affine_of(SHEAR @ ANISOTROPIC)), tmp_path / "mask.nii")
    header = nib.load(tmp_path / "mask.nii").header
    assert (header["sform_code"], header["qform_code"]) == (1, 0)
    assert read(tmp_path / "mask.nii").warnings == ()


def test_a_mask_that_is_read_and_written_keeps_its_header(tmp_path):
    image = nib.Nifti1Image(voxels("float32"), affine_of(TURN @ ANISOTROPIC))
    nib.save(image, tmp_path / "truth.nii")
    labels = read_labels(tmp_path / "truth.nii")
    assert labels.data.dtype == np.uint16
    write(labels, tmp_path / "again.nii")
    for name in FIELDS:
        np.testing.assert_array_equal(
            nib.load(tmp_path / "again.nii").header[name], nib.load(tmp_path / "truth.nii").header[name]
        )
