"""Segment every volume of a folder: python batch_folder.py [folder [output folder]]; without a folder, two samples.

The masks get the names of the volumes. One bad file does not stop the others.
"""

import sys
import tempfile
from pathlib import Path

import mambaseg
from mambaseg.synthetic import synthetic_brain

if len(sys.argv) > 1:
    folder = Path(sys.argv[1])
else:
    folder = Path(tempfile.mkdtemp(prefix="mambaseg-"))
    for seed in (1, 2):
        sample = synthetic_brain(seed, shape=(96, 112, 16), spacing_mm=(2, 2, 8), channels=["flair"])
        mambaseg.write(sample.volume, folder / f"case{seed}.nii.gz")
    (folder / "damaged.nii.gz").write_bytes(b"no volume")

output = Path(sys.argv[2]) if len(sys.argv) > 2 else folder / "masks"
output.mkdir(exist_ok=True)
model = mambaseg.load_model("brain-tumour")

for path in sorted(folder.glob("*.nii.gz")):
    try:
        volume = mambaseg.read(path)
        found = mambaseg.Job(lambda volume=volume: mambaseg.segment(volume, model)).run()
        mambaseg.write(found.labels, output / path.name)
    except mambaseg.MambaSegError as error:
        print(f"{path.name}: left out: {error}")
    else:
        print(f"{path.name}: " + ", ".join(f"{name} {ml:.1f} ml" for name, ml in found.labels.volumes_ml().items()))
print(f"masks are in {output}")
