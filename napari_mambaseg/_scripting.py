"""The window's actions for scripts and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mambaseg.card import read_card
from mambaseg.errors import VolumeError
from mambaseg.registry import DEFAULT_MODEL, find_model
from napari_mambaseg._controllers.adding import add_described
from napari_mambaseg._engine import SHARED
from napari_mambaseg._layer_list import key_of, meta_of, open_layers
from napari_mambaseg._resolve import choose_inputs, mask_name, why_not
from napari_mambaseg._slices import axial_slice
from napari_mambaseg._tasks import Order, Source
from napari_mambaseg._tasks import segment_layers as task

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Labels, Layer

    from mambaseg.engine_process import EngineProcess
    from mambaseg.jobs import Progress


def segment_layers(
    viewer: ViewerModel,
    *,
    model: str = DEFAULT_MODEL,
    device: str = "auto",
    backend: str = "auto",
    current_slice: bool = False,
    uncertainty: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    **channels: str | Layer | None,
) -> Labels:
    """Segment layers of a viewer and add the mask as a new layer, as the button in the dock widget does.

    It returns when the mask is there. The engine runs in a child process, which stays warm for the next call and ends
    when the viewer's last layer goes, as it does when the viewer is closed, or with Python.

    Parameters
    ----------
    viewer
        `napari.Viewer()` or `ViewerModel()`.
    model
        A name from `mambaseg models`, with or without version, or a model's folder.
    device, backend
        As in `mambaseg.segment`.
    current_slice
        Segment only the axial slice that the viewer stands on.
    uncertainty
        Also add a layer that is bright where the model is in doubt.
    on_progress
        Called with each step.
    **channels
        The layer, or its name, for each of the model's channels: ``flair="case7_flair"``; None leaves a channel out.
        Channels that are not given are guessed from the names of the layers.

    Returns
    -------
    napari.layers.Labels
        The new layer.

    Raises
    ------
    MambaSegError
        With one sentence: no such layer, no such model, a layer that is no volume, …

    Examples
    --------
    >>> mask = segment_layers(viewer, flair="case7_flair", model="brain-tumour")  # doctest: +SKIP
    """
    folder = find_model(model)
    card = read_card(folder)
    known = [channel.name for channel in card.channels]
    unknown = next((name for name in channels if name not in known), None)
    if unknown is not None:
        raise VolumeError(f"the model {card.name} has no channel {unknown!r}; it knows {', '.join(known)}")
    picked = {channel: key_of(_find(viewer, layer)) if layer is not None else "" for channel, layer in channels.items()}
    listed = open_layers(viewer)
    for layer in listed:
        if layer.key in picked.values() and not layer.is_volume:
            raise VolumeError(layer.problem or f"the layer {layer.name} is a mask; choose an image")
    active = viewer.layers.selection.active
    chosen = choose_inputs(card, listed, picked, key_of(active) if active is not None else "")
    reason = why_not(card, listed, chosen)
    if reason:
        raise VolumeError(reason)
    by_key = {key_of(layer): layer for layer in viewer.layers}
    layers = {channel: by_key[key] for channel, key in chosen.items() if key}
    first = next(iter(layers.values()))
    order = Order(
        {channel: Source(layer.data, meta_of(layer)) for channel, layer in layers.items()},
        str(folder),
        device,
        backend,
        axial_slice(first, viewer.dims.point, viewer.layers.units).stored if current_slice else None,
        uncertainty,
        mask_name(str(first.name), card),
        f"{first.name} · uncertainty",
    )
    steps = task(_hold_engine(viewer), order, SHARED.facts)
    while True:
        try:
            progress = next(steps)
        except StopIteration as stop:
            SHARED.facts = stop.value.facts
            mask: Labels = add_described(viewer, stop.value.layers)[-1]
            return mask
        if on_progress is not None:
            on_progress(progress)


def _find(viewer: ViewerModel, layer: str | Layer) -> Any:
    if not isinstance(layer, str):
        return layer
    names = [one.name for one in viewer.layers]
    if layer not in names:
        raise VolumeError(f"there is no layer {layer!r}; open are {', '.join(names) or 'none'}")
    return viewer.layers[layer]


def _hold_engine(viewer: ViewerModel) -> EngineProcess:
    """Return the engine, held for a viewer until its last layer goes."""
    if id(viewer) not in _HOLDING:
        holder = _HOLDING[id(viewer)] = object()
        layers, identity = viewer.layers, id(viewer)
        emitter = layers.events.removed

        def let_go(event: object = None) -> None:
            if len(layers) == 0:
                emitter.disconnect(let_go)
                _HOLDING.pop(identity, None)
                SHARED.let_go(holder)

        emitter.connect(let_go)
    return SHARED.hold(_HOLDING[id(viewer)])


_HOLDING: dict[int, object] = {}
