"""Data sets in nnU-Net's layout, and those that cannot be trained on."""

import json

import nibabel as nib
import numpy as np
import pytest

from mambaseg.data_set import check_label_values, load_case, read_data_set
from mambaseg.errors import DataSetError


def change(folder, name, **changes):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_channel_without_a_file_is_missing(data_set):
    found = read_data_set(data_set)
    assert found.channels == ("flair", "t1")
    assert [tuple(case.images) for case in found.splits["train"]] == [("flair", "t1"), ("flair",), ("flair", "t1")]
    volume, label = load_case(found.splits["train"][0])
    assert volume.channels == ("flair", "t1")
    assert volume.shape == label.shape == (40, 36, 6)


def test_a_patient_in_two_splits_is_refused(data_set):
    change(data_set, "splits.json", val=["case0"])
    with pytest.raises(DataSetError, match=r"the case case0 stands in 'train' and in 'val'"):
        read_data_set(data_set)


def test_an_empty_split_is_refused(data_set):
    change(data_set, "splits.json", val=[])
    with pytest.raises(DataSetError, match=r"has no cases under 'val'; list one patient at least"):
        read_data_set(data_set)


def test_a_case_without_its_label_is_refused(data_set):
    (data_set / "labelsTr" / "case2.nii.gz").unlink()
    with pytest.raises(DataSetError, match=r"the case case2 of splits.json has no file labelsTr.case2\.nii\.gz"):
        read_data_set(data_set)


def test_a_folder_that_is_no_data_set_is_refused(tmp_path, data_set):
    with pytest.raises(DataSetError, match=r"there is no .*dataset\.json; give a folder in nnU-Net's raw layout"):
        read_data_set(tmp_path)
    (data_set / "dataset.json").write_text("{")
    with pytest.raises(DataSetError, match=r"is not JSON"):
        read_data_set(data_set)
    (data_set / "dataset.json").write_text("{}")
    with pytest.raises(DataSetError, match=r"is not nnU-Net's"):
        read_data_set(data_set)


def test_a_label_value_outside_the_set_is_refused(data_set):
    path = data_set / "labelsTr" / "case0.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) * np.uint8(5), image.affine), path)
    found = read_data_set(data_set)
    case = found.splits["train"][0]
    with pytest.raises(DataSetError, match=r"case0\.nii\.gz holds the label values \[5\]; dataset\.json names \[1\]"):
        check_label_values(load_case(case)[1], found, case)


def test_a_label_on_another_grid_is_refused(data_set):
    path = data_set / "labelsTr" / "case0.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((40, 36, 5), np.uint8), np.eye(4)), path)
    with pytest.raises(DataSetError, match=r"does not lie on the grid of its image \(40, 36, 6\)"):
        load_case(read_data_set(data_set).splits["train"][0])


def test_a_case_is_a_patient_of_its_own_unless_splits_says_otherwise(data_set):
    assert [case.patient for case in read_data_set(data_set).splits["train"]] == ["case0", "case1", "case2"]
    change(data_set, "splits.json", patients={"case0": "anna", "case2": "anna"})
    assert [case.patient for case in read_data_set(data_set).splits["train"]] == ["anna", "case1", "anna"]


def test_a_patient_with_cases_in_two_splits_is_refused(data_set):
    change(data_set, "splits.json", patients={"case0": "anna", "case3": "anna"})
    with pytest.raises(DataSetError, match=r"the patient anna has cases in 'train' and in 'val' of splits\.json; keep"):
        read_data_set(data_set)
    change(data_set, "splits.json", patients=["anna"])
    with pytest.raises(DataSetError, match=r"has a list under 'patients'; give an object \{case: patient\}, or leave"):
        read_data_set(data_set)
