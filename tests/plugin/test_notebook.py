"""In a notebook: the same call, in a Jupyter kernel."""

from __future__ import annotations

import pytest

CELL = """
from napari.components import ViewerModel
from mambaseg.synthetic import synthetic_brain
import napari_mambaseg
viewer = ViewerModel()
napari_mambaseg.show(viewer, synthetic_brain(seed=1, shape=(80, 96, 20), spacing_mm=(2.0, 2.0, 6.0)).volume)
mask = napari_mambaseg.segment_layers(viewer, flair="flair")
print(mask.name, bool(mask.data.any()))
"""


def test_segment_layers_works_in_a_jupyter_kernel():
    manager = pytest.importorskip("jupyter_client.manager", reason="no Jupyter here")
    kernel, client = manager.start_new_kernel(kernel_name="python3")
    said = []
    try:
        reply = client.execute_interactive(
            CELL, timeout=120, output_hook=lambda message: said.append(message["content"].get("text", ""))
        )
        assert reply["content"]["status"] == "ok", reply["content"]
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
        kernel.cleanup_resources()
    assert "flair · tumour True" in "".join(said)
