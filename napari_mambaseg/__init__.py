"""Segment, correct and fine-tune MRI volumes in napari with a small Mamba network."""
