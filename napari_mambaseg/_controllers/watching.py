"""Notice what happens to the layers of a run while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_mambaseg._layer_list import key_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel

_MOVES = ("data", "set_data", "scale", "translate", "rotate", "shear", "affine")


class SourceWatch:
    """Remembers which of some layers were changed or removed."""

    def __init__(self, viewer: ViewerModel, layers: Sequence[Any]) -> None:
        self._viewer, self._layers = viewer, list(layers)
        self._names = {key_of(layer): str(layer.name) for layer in layers}
        self._changed: dict[str, None] = {}
        self._emitters = [(getattr(layer.events, name), layer) for layer in layers for name in ("data", *_MOVES[2:])]
        self._callbacks = []
        for emitter, layer in self._emitters:
            key = key_of(layer)

            def note(event: object = None, key: str = key) -> None:
                self._changed[key] = None

            emitter.connect(note)
            self._callbacks.append((emitter, note))

    def stop(self) -> tuple[str, ...]:
        """Stop watching; return one sentence for each layer that is not what it was."""
        for emitter, note in self._callbacks:
            emitter.disconnect(note)
        self._callbacks = []
        there = {key_of(layer) for layer in self._viewer.layers}
        return tuple(
            f"{name} was removed while it was being segmented; the mask lies where it was."
            if key not in there
            else f"{name} was changed while it was being segmented; the mask belongs to it as it was at the start."
            for key, name in self._names.items()
            if key not in there or key in self._changed
        )
