# ruff: noqa: TID251
"""Press the dock widget's button from a script: python segment_layers.py [flair.nii.gz]; without a file, a sample.

With --close the window closes at once, for tests.
"""

import sys

import napari

from napari_mambaseg import segment_layers

files = [argument for argument in sys.argv[1:] if argument != "--close"]
viewer = napari.Viewer()
if files:
    viewer.open(files, plugin="napari-mambaseg")
else:
    viewer.open_sample("napari-mambaseg", "synthetic-brain")

# The channels are guessed from the layers' names; say flair="…" where that guess is wrong.
mask = segment_layers(viewer, uncertainty=True, on_progress=lambda at: print(at.stage, at.step, at.total or ""))
viewer.dims.set_current_step(0, int((mask.data > 0).sum(axis=(1, 2)).argmax()))

print(f"{len(viewer.layers)} layers: " + ", ".join(layer.name for layer in viewer.layers))
if "--close" in sys.argv:
    viewer.close()
else:
    napari.run()
