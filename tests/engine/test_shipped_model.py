"""The model that ships: on synthetic brains always, on real ones where the data is there."""

import subprocess
import sys

import numpy as np
import pytest

from mambaseg.data_set import load_case, read_data_set
from mambaseg.evaluate import score
from mambaseg.jobs import Job
from mambaseg.registry import load_model
from mambaseg.segment import segment
from mambaseg.synthetic import synthetic_brain


def dice(volume, truth, merge=False):
    found = Job(lambda: segment(volume, load_model("brain-tumour"), device="cpu")).run()
    return score(found.labels, truth, merge=merge)[0].dice


@pytest.mark.parametrize("channels", [("flair", "t1", "t1c"), ("flair",)])
def test_it_finds_the_tumour_of_a_synthetic_brain(channels):
    case = synthetic_brain(seed=0, channels=channels)
    assert dice(case.volume, case.truth) >= 0.6


def test_it_gives_the_same_mask_whatever_the_units(volume):
    case = synthetic_brain(seed=2, channels=("flair",))
    model = load_model("brain-tumour")
    masks = []
    for gain, shift in ((1.0, 0.0), (0.01, -3.0)):
        scaled = type(case.volume)((gain * case.volume.data + shift).astype(np.float32), case.volume.affine, ("flair",))
        masks.append(Job(lambda v=scaled: segment(v, model)).run().labels.data)
    both = 2 * (masks[0] & masks[1]).sum() / (masks[0].sum() + masks[1].sum())
    assert both > 0.99


@pytest.mark.parametrize(("case", "least"), [("TCGA_DU_7014_19860618", 0.88), ("TCGA_HT_7690_19960312", 0.88)])
def test_it_segments_real_patients_that_it_was_not_trained_on(real_data, tmp_path_factory, case, least):
    pytest.importorskip("imagecodecs", reason="unpacking the real data needs imagecodecs")
    pytest.importorskip("PIL", reason="unpacking the real data needs pillow")
    out = tmp_path_factory.getbasetemp() / "real"
    if not (out / "lgg").exists():
        subprocess.run([sys.executable, str(real_data / "unpack.py"), str(out), "lgg"], check=True, capture_output=True)
    found = next(c for c in read_data_set(out / "lgg").splits["val"] if c.name == case)
    volume, truth = load_case(found)
    assert dice(volume, truth) >= least
