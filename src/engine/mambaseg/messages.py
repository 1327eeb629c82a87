"""What the window's process and the engine's process say to each other: JSON lines, and arrays in .npy files.

No pickle on either side. The files lie in a temporary folder of one run, which the parent makes and removes.
"""

from __future__ import annotations

import errno
import json
import secrets
import shutil
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from mambaseg.errors import FileError
from mambaseg.segmentation import Segmentation
from mambaseg.volume import Label, LabelMap, StoredSpace, Volume

if TYPE_CHECKING:
    from collections.abc import Iterator

Message = dict[str, Any]
PIECE = 4_000_000
"""Bytes copied at once: while numpy copies, the window's thread may have to wait."""


def send(stream: IO[bytes], message: Message) -> None:
    """Write one message."""
    stream.write(json.dumps(message).encode() + b"\n")
    stream.flush()


def receive(stream: IO[bytes]) -> Message | None:
    """Read one message; None when the other side is gone, also in the middle of a line."""
    while (line := stream.readline()).endswith(b"\n"):
        # Python itself may print before the worker sets its streams apart (sitecustomize, .pth files).
        with suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict):
                return message
    return None


class ArrayFolder:
    """The temporary folder of one run; each array in it is read once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def make(cls) -> ArrayFolder:
        """Make a folder where the system keeps temporary files (TMPDIR)."""
        try:
            return cls(Path(tempfile.mkdtemp(prefix="mambaseg-")))
        except OSError as error:
            raise FileError(
                f"no temporary folder could be made ({error.strerror or error}); set TMPDIR to a folder that you may "
                "write to"
            ) from error

    def put(self, array: np.ndarray) -> str:
        """Write an array, C order, whatever views and flips it is made of; return the file's name.

        Raises
        ------
        FileError
            If the disk is full or refuses; the half-written file is removed.
        """
        file = self.path / f"{secrets.token_hex(8)}.npy"
        try:
            self._write(file, array)
        except OSError as error:
            with suppress(OSError):
                file.unlink()
            raise FileError(self._why_not(error, array.nbytes)) from error
        return file.name

    def take(self, name: str) -> np.ndarray:
        """Read an array into memory and remove its file."""
        file = self.path / name
        try:
            array: np.ndarray = np.load(file, allow_pickle=False)
            file.unlink()
        except OSError as error:
            raise FileError(
                f"an array could not be read back from {self.path} ({error.strerror or error}); run it again, or set "
                "TMPDIR to another folder"
            ) from error
        return array

    def remove(self) -> None:
        """Remove the folder with all in it, also while the other process still writes; does nothing if it is gone."""
        for _ in range(10):
            shutil.rmtree(self.path, ignore_errors=True)
            if not self.path.exists():
                return

    @staticmethod
    def _write(file: Path, array: np.ndarray) -> None:
        # Written, not mapped: where the disk is full a mapped page ends the whole process (SIGBUS), a write is refused.
        header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
        with open(file, "wb") as stream:
            np.lib.format.write_array_header_2_0(stream, header)
            for piece in _pieces(array):
                stream.write(piece.data)

    def _why_not(self, error: OSError, size: int) -> str:
        needed, folder = f"{max(1, size // 1_000_000)} MB", self.path.parent
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return f"{folder} could not be written to ({error.strerror or error}); the engine needs {needed} there"
        return f"{folder} is full: the engine needs {needed} there; remove files or set TMPDIR to another folder"


def pack_volume(volume: Volume, arrays: ArrayFolder) -> Message:
    """Return a volume in plain values; its arrays go to files."""
    return {
        "data": arrays.put(volume.data),
        "affine": arrays.put(volume.affine),
        "channels": list(volume.channels),
        "stored": None if volume.stored is None else asdict(volume.stored),
        "warnings": list(volume.warnings),
    }


def unpack_volume(message: Message, arrays: ArrayFolder) -> Volume:
    """Return the volume that was packed."""
    return Volume(
        data=arrays.take(message["data"]),
        affine=arrays.take(message["affine"]),
        channels=tuple(message["channels"]),
        stored=_stored(message["stored"]),
        warnings=tuple(message["warnings"]),
    )


def pack_labels(labels: LabelMap, arrays: ArrayFolder) -> Message:
    """Return a label map in plain values; its arrays go to files."""
    return {
        "data": arrays.put(labels.data),
        "affine": arrays.put(labels.affine),
        "labels": [[int(value), label.name, label.color] for value, label in labels.labels.items()],
        "stored": None if labels.stored is None else asdict(labels.stored),
    }


def unpack_labels(message: Message, arrays: ArrayFolder) -> LabelMap:
    """Return the label map that was packed."""
    return LabelMap(
        data=arrays.take(message["data"]),
        affine=arrays.take(message["affine"]),
        labels=MappingProxyType({value: Label(name, color) for value, name, color in message["labels"]}),
        stored=_stored(message["stored"]),
    )


def pack_segmentation(found: Segmentation, arrays: ArrayFolder) -> Message:
    """Return a segmentation in plain values; its arrays go to files."""
    maps = {"probabilities": found.probabilities, "uncertainty": found.uncertainty}
    return {
        "labels": pack_labels(found.labels, arrays),
        **{name: None if one is None else pack_volume(one, arrays) for name, one in maps.items()},
        "model": found.model,
        "version": found.version,
        "device": found.device,
        "backend": found.backend,
        "threads": found.threads,
        "seconds": dict(found.seconds),
        "warnings": list(found.warnings),
    }


def unpack_segmentation(message: Message, arrays: ArrayFolder) -> Segmentation:
    """Return the segmentation that was packed."""
    return Segmentation(
        labels=unpack_labels(message["labels"], arrays),
        probabilities=_map(message["probabilities"], arrays),
        uncertainty=_map(message["uncertainty"], arrays),
        model=message["model"],
        version=message["version"],
        device=message["device"],
        backend=message["backend"],
        threads=message["threads"],
        seconds=message["seconds"],
        warnings=tuple(message["warnings"]),
    )


def _map(message: Message | None, arrays: ArrayFolder) -> Volume | None:
    return None if message is None else unpack_volume(message, arrays)


def _stored(fields: Message | None) -> StoredSpace | None:
    """Return the header's fields; JSON made lists of the tuples."""
    if fields is None:
        return None
    values: Message = {name: tuple(one) if isinstance(one, list) else one for name, one in fields.items()}
    return StoredSpace(**values)


def _pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the values in C order, a few megabytes at a time."""
    if array.nbytes <= PIECE or array.ndim == 0:
        yield np.ascontiguousarray(array)
    elif array.ndim > 1 and array[0].nbytes > PIECE:
        for row in array:
            yield from _pieces(row)
    else:
        rows = max(1, PIECE // array[0].nbytes)
        for start in range(0, len(array), rows):
            yield np.ascontiguousarray(array[start : start + rows])
