"""All slices of a data set's split in one tensor, prepared once, so that a batch is one gather on the device."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mambaseg.data_set import Case, DataSet, check_label_values, load_case
from mambaseg.jobs import Progress
from mambaseg.prepare import Prepared, prepare, prepare_labels

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from mambaseg.card import Channel
    from mambaseg.config import PrepareConfig


@dataclass(frozen=True, eq=False)
class SliceBank:
    """Slices of several cases on one canvas; s counts slices over all cases."""

    images: Tensor
    """float16 [s channel row column], padded with air."""
    labels: Tensor
    """uint8 [s row column], class indices."""
    below: Tensor
    """The neighbour below each slice [s]; the slice itself at the border."""
    above: Tensor
    present: Tensor
    """float32 [s channel]."""
    tumour: np.ndarray
    """Indices of slices with a label."""
    cases: dict[str, slice]
    """Where each case lies."""

    def batch(self, index: Tensor, neighbours: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return slices with their neighbours [b channel*(2n+1) y x], labels [b 1 y x] and presence [b channel]."""
        order = [index]
        for _ in range(neighbours):
            order = [self.below[order[0]], *order, self.above[order[-1]]]
        stacked = torch.stack([self.images[i] for i in order], dim=2)
        return stacked.flatten(1, 2).float(), self.labels[index][:, None], self.present[index]


def fill_bank(
    data_set: DataSet, cases: Sequence[Case], channels: Sequence[Channel], config: PrepareConfig, device: torch.device
) -> Generator[Progress, None, SliceBank]:
    """Read and prepare cases, several at a time."""
    values = {value: index for index, value in enumerate((0, *sorted(data_set.labels)))}

    def one(case: Case) -> tuple[Prepared, np.ndarray]:
        volume, label = load_case(case)
        check_label_values(label, data_set, case)
        prepared = prepare(volume, channels, config, crop=False)
        classes = np.zeros(label.shape, np.uint8)
        for value, index in values.items():
            classes[label.data == value] = index
        return prepared, prepare_labels(classes, prepared)

    ready = []
    with ThreadPoolExecutor(max_workers=8) as pool:
        for done, result in enumerate(pool.map(one, cases)):
            ready.append(result)
            yield Progress("reading cases", done + 1, len(cases))
    return _join([case.name for case in cases], ready, device)


def _join(names: Sequence[str], ready: Sequence[tuple[Prepared, np.ndarray]], device: torch.device) -> SliceBank:
    """Put prepared cases side by side."""
    rows, columns = (max(p.slices.shape[axis] for p, _ in ready) for axis in (2, 3))
    total = sum(p.slices.shape[1] for p, _ in ready)
    images = torch.zeros(total, len(ready[0][0].present), rows, columns, dtype=torch.float16)
    labels = torch.zeros(total, rows, columns, dtype=torch.uint8)
    below, above = np.arange(total), np.arange(total)
    present, places, start = [], {}, 0
    for name, (prepared, classes) in zip(names, ready, strict=True):
        _, depth, height, width = prepared.slices.shape
        here = slice(start, start + depth)
        y, x = (rows - height) // 2, (columns - width) // 2
        for channel, slices in zip(prepared.given, prepared.slices, strict=True):
            images[here, channel, y : y + height, x : x + width] = slices
        labels[here, y : y + height, x : x + width] = torch.from_numpy(classes)
        below[here] = np.maximum(np.arange(start, start + depth) - prepared.step, start)
        above[here] = np.minimum(np.arange(start, start + depth) + prepared.step, start + depth - 1)
        present.append(prepared.present.expand(depth, -1))
        places[name] = here
        start += depth
    tumour = labels.flatten(1).any(dim=1).nonzero().flatten().numpy()
    neighbours = torch.from_numpy(below).to(device), torch.from_numpy(above).to(device)
    return SliceBank(
        images.to(device), labels.to(device), *neighbours, torch.cat(present).to(device), tumour, places
    )
