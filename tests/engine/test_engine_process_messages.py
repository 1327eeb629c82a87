"""What passes between the window's process and the engine's: JSON lines and arrays, exactly, without pickle."""

import errno
import tempfile
from dataclasses import astuple

import numpy as np
import pytest

from mambaseg import messages
from mambaseg.errors import FileError
from mambaseg.messages import (
    ArrayFolder,
    pack_segmentation,
    pack_volume,
    receive,
    send,
    unpack_segmentation,
    unpack_volume,
)
from mambaseg.segmentation import Segmentation
from mambaseg.volume import Label, LabelMap, StoredSpace, Volume

OBLIQUE = np.array([[1.9, -0.3, 0.1, -90], [0.3, 1.9, 0.2, -126], [-0.1, -0.2, 2.1, 1 / 3], [0, 0, 0, 1.0]])
STORED = StoredSpace(1, 1, 2, (-1.0, *(1 / 3,) * 7), (0.1, 0.2, 0.3), (-9.0, -1.0, 1 / 3), tuple(map(float, range(12))))


@pytest.fixture
def arrays(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = ArrayFolder.make()
    yield folder
    folder.remove()


@pytest.fixture
def stream():
    with tempfile.TemporaryFile() as opened:
        yield opened


def number(shape, dtype=np.float32):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def test_messages_arrive_one_by_one_until_the_other_side_is_gone(stream):
    send(stream, {"run": 1, "name": "Ångström \udcff\n"})
    send(stream, {"run": 2, "nothing": None})
    stream.write(b'{"half a li')
    stream.seek(0)
    assert receive(stream) == {"run": 1, "name": "Ångström \udcff\n"}
    assert receive(stream) == {"run": 2, "nothing": None}
    assert receive(stream) is None


def test_lines_that_are_no_messages_are_passed_over(stream):
    stream.write(b'Welcome to Python!\n\xff\xfe\n42\n\n{"run": 1}\n')
    stream.seek(0)
    assert receive(stream) == {"run": 1}


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", ">f4", "f2", "f8", "u8"])
def test_arrays_arrive_as_they_were(arrays, dtype):
    array = number((2, 3, 4, 5), dtype)
    found = arrays.take(arrays.put(array))
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[:, ::-1, :, ::-1],
        lambda a: a.transpose(0, 3, 1, 2),
        lambda a: np.asfortranarray(a),
        lambda a: np.broadcast_to(a[:1], (4, *a.shape[1:])),
        lambda a: a[:, :0],
        lambda a: a[0, 0, 0, 0],
    ],
    ids=["flipped", "transposed", "fortran", "broadcast", "empty", "one number"],
)
@pytest.mark.parametrize("piece", [1, 50, 300, 4_000_000])
def test_views_arrive_exactly_however_small_the_pieces_are(arrays, view, piece, monkeypatch):
    monkeypatch.setattr(messages, "PIECE", piece)
    array = np.asarray(view(number((2, 3, 4, 5))))
    found = arrays.take(arrays.put(array))
    assert found.shape == array.shape
    assert np.array_equal(found, array)


def test_an_array_is_read_into_memory_once_and_its_file_is_gone(arrays):
    name = arrays.put(number((2, 3, 4)))
    found = arrays.take(name)
    assert not list(arrays.path.iterdir())
    assert not isinstance(found, np.memmap)
    assert found.flags.writeable
    with pytest.raises(FileError, match=r"an array could not be read back from .*; run it again"):
        arrays.take(name)


def test_objects_are_not_read(arrays):
    np.save(arrays.path / "bad.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        arrays.take("bad.npy")


def test_a_volume_keeps_its_geometry_and_all_it_says(arrays):
    volume = Volume(number((2, 3, 4, 5))[:, ::-1], OBLIQUE, ("flair", "t1"), STORED, ("the header was mended",))
    found = unpack_volume(pack_volume(volume, arrays), arrays)
    assert np.array_equal(found.data, volume.data)
    assert np.array_equal(found.affine, OBLIQUE)
    assert found.affine.dtype == OBLIQUE.dtype
    assert astuple(found.stored) == astuple(STORED)
    assert (found.channels, found.warnings) == (volume.channels, volume.warnings)


def test_a_segmentation_keeps_its_maps_and_all_it_says(arrays):
    labels = LabelMap(number((3, 4, 5), np.uint16), OBLIQUE, {2: Label("oedema", "#00ff00")}, STORED)
    unsure = Volume(number((1, 3, 4, 5)), OBLIQUE, ("uncertainty",))
    whole = Segmentation(labels, None, "tiny", "1.0", "cpu", "torch", 2, {"prepare": 0.1}, ("a note",), unsure)
    found = unpack_segmentation(pack_segmentation(whole, arrays), arrays)
    assert np.array_equal(found.labels.data, labels.data)
    assert found.labels.data.dtype == np.uint16
    assert dict(found.labels.labels) == dict(labels.labels)
    assert found.labels.stored == STORED
    assert found.probabilities is None
    assert np.array_equal(found.uncertainty.data, unsure.data)
    plain = ("model", "version", "device", "backend", "threads", "seconds", "warnings")
    assert all(getattr(found, name) == getattr(whole, name) for name in plain)


def test_a_full_disk_is_told_with_its_folder_and_leaves_nothing(arrays, monkeypatch):
    def pieces(array):
        yield np.zeros(3)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(messages, "_pieces", pieces)
    with pytest.raises(FileError, match=rf"^{arrays.path.parent} is full: the engine needs 7 MB there; .* TMPDIR"):
        arrays.put(np.zeros((100, 90, 99)))
    assert not list(arrays.path.iterdir())


def test_a_folder_that_cannot_be_made_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with pytest.raises(FileError, match=r"no temporary folder could be made \(No such file.*\); set TMPDIR"):
        ArrayFolder.make()


def test_a_folder_is_removed_twice_without_complaint(arrays):
    arrays.put(number((2, 3, 4)))
    arrays.remove()
    arrays.remove()
    assert not arrays.path.exists()
