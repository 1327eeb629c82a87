"""Who takes part in a comparison: models under names that differ, and whether they fit the data set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mambaseg.errors import DataSetError, ModelError
from mambaseg.registry import find_model, load_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mambaseg.checkpoint import Checkpoint
    from mambaseg.data_set import Case, DataSet

CHANNELS = ("all", "required")
"""What a model is given: every channel that it knows and the case has, or those alone that it cannot do without."""


@dataclass(frozen=True, eq=False)
class Contender:
    """A model under the name that it has in a comparison."""

    name: str
    checkpoint: Checkpoint
    folder: Path

    @property
    def file_name(self) -> str:
        """The name, as a folder of masks can have it."""
        return _as_file_name(self.name)

    @property
    def required(self) -> tuple[str, ...]:
        """The channels that it cannot do without."""
        return tuple(channel.name for channel in self.checkpoint.card.channels if channel.required)


def load_contenders(models: Sequence[str]) -> list[Contender]:
    """Load models, by name or folder.

    Raises
    ------
    ModelError
        If none is named, one is named twice, is not there or is damaged.
    """
    if not models:
        raise ModelError("no model was named; give names from `mambaseg models` or folders, with commas between them")
    folders = [find_model(name) for name in models]
    for number, folder in enumerate(folders):
        if folder.resolve() in [earlier.resolve() for earlier in folders[:number]]:
            raise ModelError(f"the model {models[number]!r} is named twice; name each model once")
    checkpoints = [load_model(str(folder)) for folder in folders]
    titles = _told_apart([checkpoint.title for checkpoint in checkpoints], [folder.name for folder in folders])
    return [Contender(*three) for three in zip(titles, checkpoints, folders, strict=True)]


def check_fit(contender: Contender, data_set: DataSet, cases: Sequence[Case]) -> None:
    """Refuse a model that could not be scored on the cases as the others are.

    Raises
    ------
    DataSetError
        If a required channel is missing, or its labels are not those of the data set.
    """
    for channel in contender.required:
        if channel not in data_set.channels:
            raise DataSetError(
                f"the model {contender.name} needs the channel {channel!r}; {data_set.folder.name} has "
                f"{', '.join(data_set.channels)}: leave the model out or compare on another data set"
            )
        lacking = [case.name for case in cases if channel not in case.images]
        if lacking:
            raise DataSetError(
                f"the model {contender.name} needs the channel {channel!r}, which the case {lacking[0]} of "
                f"{data_set.folder.name} lacks; leave out the model, or the case from splits.json"
            )
    found = {label.value: label.name.lower() for label in contender.checkpoint.card.labels}
    wanted = {value: name.lower() for value, name in data_set.labels.items()}
    if found != wanted:
        raise DataSetError(
            f"the model {contender.name} draws the labels {_labels(found)}; {data_set.folder.name} has "
            f"{_labels(wanted)}: leave the model out or compare on another data set"
        )


def channels_for(contender: Contender, case: Case, channels: str) -> tuple[str, ...]:
    """Return which of a case's channels the model is given."""
    known = [channel.name for channel in contender.checkpoint.card.channels]
    wanted = contender.required if channels == "required" else known
    return tuple(channel for channel in case.images if channel in wanted)


def _told_apart(titles: Sequence[str], folders: Sequence[str]) -> list[str]:
    """Add to titles that repeat the name of the folder, and a number if that repeats too; as file names they differ."""
    files = [_as_file_name(title) for title in titles]
    names = [
        f"{title} ({folder})" if files.count(file) > 1 else title
        for title, folder, file in zip(titles, folders, files, strict=True)
    ]
    files = [_as_file_name(name) for name in names]
    return [
        f"{name} no. {files[:number].count(file) + 1}" if files.count(file) > 1 else name
        for number, (name, file) in enumerate(zip(names, files, strict=True))
    ]


def _as_file_name(name: str) -> str:
    """Return a name without what some file system does not take; in lower case, as some know no other."""
    return re.sub(r"[^\w.+-]+", "-", name.lower()).strip("-.")


def _labels(labels: dict[int, str]) -> str:
    return ", ".join(f"{value} {name!r}" for value, name in sorted(labels.items())) or "none"
