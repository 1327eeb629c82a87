from __future__ import annotations

import pytest

from napari_mambaseg._channels import guess_channel, spoken, without_channel

NAMES = {
    "case7_flair": "flair",
    "sub-01_FLAIR": "flair",
    "TCGA_CS_4941 flair": "flair",
    "case7_t1": "t1",
    "sub-01_T1w": "t1",
    "MPRAGE": "t1",
    "case7_t1c": "t1c",
    "BraTS19_t1ce": "t1c",
    "T1 post": "t1c",
    "sub-01_ce-gadolinium_T1w": "t1c",
    "T1w_gad": "t1c",
    "t1_KM": "t1c",
    "AX T2": "t2",
    "case7_t2w": "t2",
    "ADC map": "adc",
    "scan": None,
    "contact12": None,
    "export_0001": None,
}


@pytest.mark.parametrize("name", NAMES)
def test_the_channel_is_guessed_from_the_name(name: str):
    assert guess_channel(name) == NAMES[name]


def test_names_of_one_case_are_the_same_but_for_the_channel():
    assert without_channel("case7_flair") == without_channel("case7_T1c") == "case7"
    assert without_channel("case7_flair") != without_channel("case8_flair")


def test_channels_are_spoken_as_people_write_them():
    assert [spoken(name) for name in ("flair", "t1c", "b1000")] == ["FLAIR", "T1c", "b1000"]
