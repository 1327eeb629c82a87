"""Segment one FLAIR volume: python segment_one_file.py [flair.nii.gz [mask.nii.gz]]; without a file, a sample."""

import sys

import mambaseg
from mambaseg.synthetic import synthetic_brain

volume = mambaseg.read(sys.argv[1]) if len(sys.argv) > 1 else synthetic_brain(seed=1).volume

model = mambaseg.load_model("brain-tumour")
found = mambaseg.Job(lambda: mambaseg.segment(volume, model)).run()

output = sys.argv[2] if len(sys.argv) > 2 else "mask.nii.gz"
mambaseg.write(found.labels, output)
for name, ml in found.labels.volumes_ml().items():
    print(f"{name}: {ml:.1f} ml")
print(f"written to {output}, with the shape and affine of the input")
