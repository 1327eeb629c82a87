"""The manifest, as npe2 and napari see it."""

from __future__ import annotations

from pathlib import Path

from npe2 import PluginManifest


def test_the_manifest_is_valid_and_names_only_what_exists():
    manifest = PluginManifest.from_distribution("napari-mambaseg")
    manifest.validate_imports()
    assert manifest.display_name == "Mamba segmentation"
    assert manifest.contributions.readers
    assert manifest.contributions.writers
    assert manifest.contributions.sample_data


def test_the_manifest_at_the_top_is_the_one_in_the_package():
    top = Path(__file__).parents[2]
    assert (top / "napari.yaml").read_bytes() == (top / "napari_mambaseg" / "napari.yaml").read_bytes()
