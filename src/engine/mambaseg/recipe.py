"""What two runs must share to be compared: all that decides a run but the network and its learning rate."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mambaseg.config import PrepareConfig, TrainConfig
    from mambaseg.data_set import DataSet

FREE = {"learning_rate"}
"""Settings of training that belong to a network: each is given the rate that suits it."""


def recipe_sha256(config: TrainConfig, prepare: PrepareConfig, data_set: DataSet) -> str:
    """Return the SHA-256 of a run's recipe, as canonical JSON.

    It covers the settings of training but the learning rate, those of preparation, the names of channels and labels,
    the cases of `train` and `val` in their order, and the names and sizes of their files. What is inside a file is not
    read: it would take as long as loading the data.
    """
    return _sha256(
        {
            "train_config": config.model_dump(mode="json", exclude=FREE),
            "prepare": prepare.model_dump(mode="json"),
            "channels": data_set.channels,
            "labels": sorted(data_set.labels.items()),
            "cases": {split: [case.name for case in data_set.splits[split]] for split in ("train", "val")},
            "files": _sha256(_files(data_set)),
        }
    )


def _files(data_set: DataSet) -> list[tuple[str, str, int]]:
    """Return folder, name and bytes of every file that is read."""
    cases = (case for split in ("train", "val") for case in data_set.splits[split])
    paths = {path for case in cases for path in (case.label, *case.images.values())}
    return sorted((path.parent.name, path.name, path.stat().st_size) for path in paths)


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
