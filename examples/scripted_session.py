"""Read, segment and look at the result in napari: python scripted_session.py [flair.nii.gz]; without a file, a sample.

With --close the window closes at once, for tests.
"""

import sys

import napari

import mambaseg
from mambaseg.synthetic import synthetic_brain
from napari_mambaseg import show

files = [argument for argument in sys.argv[1:] if argument != "--close"]
volume = mambaseg.read(files[0]) if files else synthetic_brain(seed=1).volume

model = mambaseg.load_model("brain-tumour")
found = mambaseg.Job(lambda: mambaseg.segment(volume, model)).run()

viewer = napari.Viewer()
show(viewer, volume)
(mask,) = show(viewer, found.labels, name="tumour")
viewer.dims.set_current_step(0, int((mask.data > 0).sum(axis=(1, 2)).argmax()))

# What is painted in this layer is saved on the volume's own grid: mask.save("mask.nii.gz").
print(f"{len(viewer.layers)} layers: " + ", ".join(layer.name for layer in viewer.layers))
if "--close" in sys.argv:
    viewer.close()
else:
    napari.run()
