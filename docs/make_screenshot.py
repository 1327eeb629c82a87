"""Write docs/images/napari.png: the window on a sample that is already segmented. Run it by `make screenshots`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from napari_mambaseg._demo import make_case, open_window, photograph  # noqa: TID251 - for the engine, not for docs

PICTURE = Path(__file__).parent / "images" / "napari.png"


def main() -> None:
    """Segment the sample, open the window, photograph it."""
    with tempfile.TemporaryDirectory() as folder:
        viewer = open_window(*make_case(Path(folder)))
    photograph(viewer, PICTURE)
    viewer.close()


if __name__ == "__main__":
    main()
