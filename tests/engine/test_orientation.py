"""How a volume lies, asked without torch."""

import subprocess
import sys

import numpy as np

from mambaseg.orientation import orientation_of


def test_axes_and_flips_are_those_that_lead_to_slices_rows_and_columns():
    stored = np.array([[0, 0, 1.1, 0], [-1.0, 0, 0, 0], [0, -5.0, 0, 0], [0, 0, 0, 1]])  # i to P, j to I, k to R
    orientation = orientation_of(stored)
    assert orientation.axes == (1, 0, 2)
    assert orientation.flipped == (0, 2)
    assert orientation.sort((1.0, 5.0, 1.1)) == (5.0, 1.0, 1.1)


def test_asking_does_not_load_torch():
    code = "import sys, mambaseg.orientation; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
