"""From what the user asks for and what is open to what the model gets, or to the sentence that says why not. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_mambaseg._channels import guess_channel, spoken, without_channel
from napari_mambaseg._screens import ChannelRow, Choice

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mambaseg.card import Card
    from napari_mambaseg._layer_list import OpenLayer

NONE = Choice("– none –", "")
OPEN_FIRST = "Open a volume in Data, then segment it here."


def model_text(card: Card) -> str:
    """Say what a model finds and in what: "tumour, from FLAIR (+T1, T1c)"."""
    labels = ", ".join(label.name for label in card.labels)
    needed = ", ".join(spoken(channel.name) for channel in card.channels if channel.required)
    helpful = ", ".join(spoken(channel.name) for channel in card.channels if not channel.required)
    return f"{labels}, from {needed}" + (f" (+{helpful})" if helpful else "")


def choose_inputs(
    card: Card, layers: Sequence[OpenLayer], picked: Mapping[str, str], active: str = ""
) -> dict[str, str]:
    """Choose a layer for each channel of a model: the user's pick, or else the likeliest by name.

    Parameters
    ----------
    card
        The model's.
    layers
        What is open.
    picked
        Layers that the user chose, by channel; "" for none. A layer that is gone is chosen anew.
    active
        Key of the layer that is selected in napari: it wins where several fit.

    Returns
    -------
    dict
        For each channel the key of a layer, "" for none.
    """
    volumes = [layer for layer in layers if layer.is_volume]
    there = {layer.key: layer for layer in volumes}
    chosen = {channel: key for channel, key in picked.items() if key in there or not key}
    names = [channel.name for channel in card.channels]
    for channel in sorted(card.channels, key=lambda one: not one.required):
        if channel.name in chosen:
            continue
        taken = {key for key in chosen.values() if key}
        free = [layer for layer in volumes if layer.key not in taken]
        # What is needed is taken even from another channel; the sentence about it is `why_not`'s.
        fitting = [layer for layer in (volumes if channel.required else free) if layer.channel == channel.name]
        first = there.get(chosen.get(names[0], ""))
        if first is not None and not channel.required:
            # An optional channel has to be of the same patient: same name but for the channel, or same grid.
            case = without_channel(first.name)
            fitting = [one for one in fitting if without_channel(one.name) == case or one.same_grid(first)]
        if not fitting and channel.required:
            # Whose name speaks of another channel is not that one; one without a clue may be.
            fitting = [layer for layer in free if layer.channel is None or layer.channel not in _KNOWN]
        best = next((layer for layer in fitting if layer.key == active), fitting[-1] if fitting else None)
        chosen[channel.name] = best.key if best else ""
    return {name: chosen.get(name, "") for name in names}


def channel_rows(
    card: Card, layers: Sequence[OpenLayer], chosen: Mapping[str, str], picked: Mapping[str, str]
) -> tuple[ChannelRow, ...]:
    """Return one row for each channel, with what is to know about the layer in it."""
    volumes = {layer.key: layer for layer in layers if layer.is_volume}
    choices = (NONE, *(Choice(layer.name, layer.key) for layer in volumes.values()))
    first = volumes.get(chosen[card.channels[0].name])
    return tuple(
        ChannelRow(
            one.name,
            spoken(one.name),
            choices,
            chosen[one.name],
            _note(volumes.get(chosen[one.name]), first, card)
            or ("" if one.name in picked else _doubt(one.name, chosen[one.name], volumes.values())),
        )
        for one in card.channels
    )


def why_not(card: Card, layers: Sequence[OpenLayer], chosen: Mapping[str, str]) -> str:
    """Return why these choices cannot be run, "" if they can."""
    volumes = {layer.key: layer for layer in layers if layer.is_volume}
    if not volumes:
        refused = next((layer for layer in layers if not layer.is_mask and layer.problem), None)
        return f"{_sentence(refused.problem)} Open a volume in Data." if refused else OPEN_FIRST
    users: dict[str, str] = {}
    for channel, key in chosen.items():
        if not key:
            continue
        if key in users:
            return (
                f"{volumes[key].name} is chosen for {spoken(users[key])} and for {spoken(channel)}: choose another "
                "volume, or none, for one of them."
            )
        users[key] = channel
    missing = next((one.name for one in card.channels if one.required and not chosen.get(one.name)), None)
    return f"Choose the {spoken(missing)} volume: this model needs it." if missing else ""


def other_grids(layers: Sequence[OpenLayer]) -> dict[str, str]:
    """Return, by key, what the tab Data says beside volumes that lie on another grid than the first of their case."""
    volumes = [layer for layer in layers if layer.is_volume]
    notes = {}
    for number, layer in enumerate(volumes):
        mates = [one for one in volumes[:number] if without_channel(one.name) == without_channel(layer.name)]
        first = next((one for one in mates if one.channel == "flair"), mates[0] if mates else None)
        if first is not None and not layer.same_grid(first):
            notes[layer.key] = f"other grid; will be resampled onto {spoken(first.channel or first.name)}"
    return notes


def mask_name(volume_name: str, card: Card) -> str:
    """Return the name of a new mask's layer: "case7_flair · tumour"."""
    labels = [label.name for label in card.labels]
    return f"{volume_name} · {labels[0] if len(labels) == 1 else card.name}"


def _note(layer: OpenLayer | None, first: OpenLayer | None, card: Card) -> str:
    if layer is None:
        return ""
    if first is not None and layer is not first and not layer.same_grid(first):
        return f"other grid; will be resampled onto {spoken(card.channels[0].name)}"
    return layer.warning


def _doubt(channel: str, key: str, volumes: Iterable[OpenLayer]) -> str:
    """Say so where the names of several volumes speak of a channel and none was chosen by hand."""
    fitting = [layer for layer in volumes if layer.channel == channel]
    return f"{len(fitting)} volumes could be {spoken(channel)}: is this the right one?" if key and fitting[1:] else ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


_KNOWN = {guess_channel(name) for name in ("flair", "t1", "t1c", "t2", "pd", "dwi", "adc", "swi")}
