"""Names and colours of labels beside a mask: the look-up table of BIDS, `<name>.tsv` with index, name and color.

NIfTI and MGZ have no place for them. BIDS 1.8, "Imaging derivatives", describes the file for its `_dseg` images.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from mambaseg.atomic import replacing
from mambaseg.errors import FileError
from mambaseg.extensions import stem_of
from mambaseg.volume import Label

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_COLUMNS = ("index", "name", "color")
_LARGEST_BYTES = 1_000_000
_NO_COLOR = "#b0b0b0"


def table_path(image: Path) -> Path:
    """Return where the table of a mask lies: case_dseg.nii.gz has case_dseg.tsv."""
    return image.with_name(f"{stem_of(image)}.tsv")


def read_label_table(image: Path) -> dict[int, Label] | None:
    """Return the labels of a mask by value, None if there is no table beside it.

    A row for the background, 0, is left out. A colour that is missing or no "#rrggbb" becomes grey.

    Raises
    ------
    FileError
        If there is a file of that name that is no look-up table.
    """
    path = table_path(image)
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise FileError(f"{path.name} is too large for a table of labels; move it away from {image.name}")
        rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")), delimiter="\t")
        if not {"index", "name"} <= set(rows.fieldnames or ()):
            raise KeyError("index, name")
        return {int(row["index"]): Label(row["name"], _color(row.get("color"))) for row in rows if int(row["index"])}
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError, csv.Error):
        raise FileError(
            f"{path.name} beside {image.name} is no table of labels (columns index, name, color, separated by tabs); "
            "mend it or move it away"
        ) from None


def write_label_table(labels: Mapping[int, Label], image: Path) -> Path:
    """Write the table of a mask, whole or not at all; an older one is replaced.

    Raises
    ------
    FileError
        If the file of that name is no look-up table, so that it is somebody else's, or cannot be written.
    """
    path = table_path(image)
    read_label_table(image)
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows((value, label.name, label.color) for value, label in sorted(labels.items()))
    with replacing(path) as temporary:
        temporary.write_text(out.getvalue(), encoding="utf-8")
    return path


def _color(text: str | None) -> str:
    found = re.fullmatch(r"#?([0-9a-fA-F]{6})", (text or "").strip())
    return f"#{found[1].lower()}" if found else _NO_COLOR
