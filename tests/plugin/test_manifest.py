"""The manifest, as npe2 and napari see it."""

from __future__ import annotations

from pathlib import Path

from npe2 import PluginManifest

from napari_mambaseg._preferences import DEFAULTS


def test_the_manifest_is_valid_and_names_only_what_exists():
    manifest = PluginManifest.from_distribution("napari-mambaseg")
    manifest.validate_imports()
    assert manifest.display_name == "Mamba segmentation"
    assert manifest.contributions.readers
    assert manifest.contributions.writers
    assert manifest.contributions.sample_data


def test_the_widget_is_in_the_plugins_menu_and_in_layers_segment():
    contributions = PluginManifest.from_distribution("napari-mambaseg").contributions
    assert [widget.display_name for widget in contributions.widgets] == ["Mamba segmentation"]
    assert [item.command for item in contributions.menus["napari/layers/segment"]] == [contributions.widgets[0].command]


def test_preferences_are_declared_with_the_defaults_that_hold_without_napari():
    (group,) = PluginManifest.from_distribution("napari-mambaseg").contributions.configurations.values()
    assert {name: setting.default for name, setting in group.properties.items()} == DEFAULTS


def test_the_manifest_at_the_top_is_the_one_in_the_package():
    top = Path(__file__).parents[2]
    assert (top / "napari.yaml").read_bytes() == (top / "napari_mambaseg" / "napari.yaml").read_bytes()
