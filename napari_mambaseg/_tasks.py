"""What the window has done in the background: generators like the engine's, without Qt.

They run in a thread, so they get arrays and plain values, never layers; a layer belongs to the window's thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mambaseg.combine import combine
from mambaseg.jobs import Progress
from mambaseg.segmentation import SegmentRequest
from napari_mambaseg._layers import image_layers, labels_layer, to_volume

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from mambaseg.engine_process import EngineProcess
    from mambaseg.segmentation import Segmentation
    from napari_mambaseg._layers import LayerData


@dataclass(frozen=True, eq=False)
class Source:
    """A layer as it was when the run began."""

    data: Any
    meta: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Order:
    """All that one run needs."""

    sources: Mapping[str, Source]
    """By channel, the model's first channel first."""
    model: str
    device: str
    backend: str
    only_slice: int | None
    uncertainty: bool
    name: str
    """Of the new mask."""
    uncertainty_name: str = ""


@dataclass(frozen=True, eq=False)
class Found:
    """What a run found, ready to be shown."""

    segmentation: Segmentation
    layers: tuple[LayerData, ...]
    """The mask last, so that it lies on top."""
    facts: Mapping[str, Any]
    """The doctor's, about this machine."""


def segment_layers(
    engine: EngineProcess, order: Order, facts: Mapping[str, Any] | None
) -> Generator[Progress, None, Found]:
    """Segment what layers hold and describe the new layers.

    Parameters
    ----------
    engine
        The child process; started if need be.
    order
        What to do.
    facts
        The doctor's, if they are known already.
    """
    yield Progress("reading", 0)
    volumes = {
        channel: to_volume(source.data, source.meta).renamed((channel,)) for channel, source in order.sources.items()
    }
    volume = combine(volumes)
    yield Progress("reading", 1)
    if facts is None:
        facts = yield from engine.examine()
    request = SegmentRequest(
        volume, order.model, order.device, order.backend, order.only_slice, order.uncertainty
    )
    found = yield from engine.segment(request)
    layers: list[LayerData] = []
    if found.uncertainty is not None:
        ((data, options, kind),) = image_layers(found.uncertainty)
        options |= {"name": order.uncertainty_name or f"{order.name} · uncertainty", "colormap": "inferno"}
        options |= {"contrast_limits": (0.0, 1.0), "blending": "additive", "visible": True}
        layers.append((data, options, kind))
    data, options, kind = labels_layer(found.labels, order.name)
    layers.append((data, options | {"opacity": 0.6}, kind))
    return Found(found, tuple(layers), facts)


def read_files(paths: Sequence[str]) -> Generator[Progress, None, list[LayerData]]:
    """Read files as layers, one after the other."""
    from napari_mambaseg._reader import read_layers

    layers: list[LayerData] = []
    for number, path in enumerate(paths):
        yield Progress(f"reading {path.rsplit('/', 1)[-1]}", number, len(paths))
        layers += read_layers(path)
    return layers


def draw_sample() -> Generator[Progress, None, list[LayerData]]:
    """Draw the sample brain."""
    from napari_mambaseg._sample_data import synthetic_brain

    yield Progress("drawing a brain", 0)
    return synthetic_brain()
