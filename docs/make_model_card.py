"""Write docs/models/brain-tumour.md from the shipped model's card and the committed results.

No figure in it is typed by hand. Run it after either changes: python docs/make_model_card.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mambaseg.checkpoint import WEIGHTS
from mambaseg.registry import load_model

HERE = Path(__file__).parent
RESULTS = HERE.parent / "benchmarks" / "results"


def table(result: dict[str, Any]) -> str:
    """One row a protocol of channels, means over patients."""
    lines = ["| input | Dice | IoU | HD95 (mm) | NSD at 1 mm | volume error (ml) |", "|---|---|---|---|---|---|"]
    for name, mean in result["mean"].items():
        figures = f"{mean['dice']:.3f} | {mean['iou']:.3f} | {mean['hd95_mm']:.1f} | {mean['nsd_1mm']:.3f}"
        lines.append(f"| {name.replace('_', ' ')} | {figures} | {mean['volume_error_ml']:+.1f} |")
    return "\n".join(lines)


def cases(result: dict[str, Any]) -> str:
    """One row a patient."""
    lines = ["| patient | all channels | FLAIR alone |", "|---|---|---|"]
    for one, other in zip(result["rows"]["all_channels"], result["rows"]["flair_only"], strict=True):
        lines.append(f"| {one['case']} | {one['dice']:.3f} | {other['dice']:.3f} |")
    return "\n".join(lines)


def how(result: dict[str, Any]) -> str:
    """What was measured, on what, by which command."""
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    made = f"`{result['command']}`, {result['machine']}, {versions}, {result['date']}"
    return f"{result['data']}; {result['protocol']}. {made}."


def main() -> None:
    """Write the page."""
    checkpoint = load_model("brain-tumour")
    card, config = checkpoint.card, checkpoint.card.training["config"]
    stem = f"brain-tumour-{card.version}"
    lgg, brats = (json.loads((RESULTS / f"{stem}-{name}.json").read_text()) for name in ("lgg-val", "brats2015"))
    size = (checkpoint.path / WEIGHTS).stat().st_size if checkpoint.path else 0
    channels = ", ".join(f"{c.name} ({'required' if c.required else 'optional'})" for c in card.channels)
    trained_on = f"{card.training['seconds']:.0f} s on an {card.training['device']}, seed {config['seed']}"
    steps = f"{config['steps']:,} steps of {config['batch']} slices, {trained_on}"
    page = f"""# {card.name} {card.version}

<!-- Made by docs/make_model_card.py from model.json and benchmarks/results; do not edit. -->

{card.description}

| | |
|---|---|
| network | {card.network.name}, widths {card.network.widths}, scan at strides 8 and 16 |
| parameters | {card.parameters:,}, counted over every tensor that training moves |
| file | {size / 1e6:.2f} MB, SHA-256 `{card.sha256}` |
| channels | {channels} |
| labels | {", ".join(f"{label.value} {label.name}" for label in card.labels)} |
| training data | {card.training_data} |
| terms | {card.licence} |
| training | {steps}, {card.training["date"]} |

## Intended use

A first draft of the FLAIR abnormality of a low-grade glioma, for a person who looks at every slice and corrects it.
It is research software and **not a medical device**: no diagnosis, no treatment and no follow-up may rest on it.

## Patients held out from training

{how(lgg)}
The mask was written by the command line and read back. This data carries no voxel size: mm and ml are those of a
nominal 1 × 1 × 5 mm, so compare them with each other only.

{table(lgg)}

Dice of each patient:

{cases(lgg)}

For scale: the data's authors report a mean per-patient Dice of 0.836 (median 0.873) for their U-Net in 22-fold
cross-validation, and two human readers agree at 0.84 ± 0.02 (Buda et al. 2019). Those are other splits, so they are no
comparison. The recipe (learning rate, neighbouring slices) was picked from three shorter runs that were scored on
these same 13 patients: the figures are a little optimistic for that.

## Another scanner, high-grade glioma, no training on it

{how(brats)}
Whole tumour: any label above 0, skull-stripped, z-scored, 1 mm isotropic. "All channels" is FLAIR and post-contrast T1.

{table(brats)}

{cases(brats)}

## Limits

- Trained on thick (about 5 mm) axial slices of adults with a low-grade glioma; on isotropic, skull-stripped volumes of
  high-grade glioma it misses much in some patients (table above).
- Healthy volumes were not tested: it may mark white-matter disease, oedema of another cause or coil artefacts.
- One label. Necrosis, oedema and enhancement are not told apart.
- Probabilities are not calibrated yet.
"""
    (HERE / "models" / "brain-tumour.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
