# ruff: noqa: T201 - it prints what it measured
"""`mambaseg benchmark paint`: how smooth the real window stays while a volume is segmented and a mask is painted."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SHAPE = (240, 240, 155)
BRUSH = 10
_STROKES = 10


def make_case(folder: Path) -> list[Path]:
    """Draw a FLAIR of 240 × 240 × 155 at 1 mm and write it as scanners' files are: whole numbers, compressed."""
    import nibabel as nib
    from scipy.ndimage import zoom

    from mambaseg.synthetic import synthetic_brain

    small = synthetic_brain(seed=5, shape=(120, 120, 78), spacing_mm=(2.0, 2.0, 2.0), channels=["flair"]).volume
    factors = [wanted / given for wanted, given in zip(SHAPE, small.shape, strict=True)]
    fine = zoom(small.data[0], factors, order=1) + np.random.default_rng(0).normal(0, 2, SHAPE)
    affine = small.affine.copy()
    affine[:3, :3] /= 2
    path = folder / "bench_flair.nii.gz"
    nib.save(nib.Nifti1Image(np.clip(fine, 0, 32767).astype(np.int16), affine), path)
    return [path]


class Bench:
    """One window and what was measured in it."""

    def __init__(self) -> None:
        import napari
        from qtpy.QtWidgets import QApplication

        from napari_mambaseg._benchmark_clocks import Ledger, Ticks

        self.ledger, self.ticks = Ledger(), Ticks
        _put_under_watch(self.ledger)
        self.figures: dict[str, Any] = {}
        self.worst: dict[str, list[dict[str, Any]]] = {}
        self.viewer = napari.Viewer(title="mambaseg benchmark paint", show=True)
        self.viewer.window.resize(1240, 860)
        begun = time.perf_counter()
        _, self.widget = self.viewer.window.add_plugin_dock_widget("napari-mambaseg", "Mamba segmentation")
        self.figures["widget_open_ms"] = _ms(begun)
        self.app = QApplication.instance()
        self.canvas = self.viewer.window._qt_viewer.canvas
        self.settle()

    def settle(self) -> None:
        """Let the window come to rest, without notices over the canvas."""
        from napari_mambaseg._benchmark_clocks import settle

        settle()
        for widget in self.app.allWidgets():
            if "Notification" in type(widget).__name__:
                widget.close()

    def sample(self) -> None:
        """Open the sample through the tab Data."""
        self._opened("sample", self.widget.data.sample_button.click)

    def open(self, files: Sequence[Path]) -> None:
        """Open the case through the tab Data."""
        self.viewer.layers.clear()
        self._opened("open", lambda: self.widget.data_controller.open([str(file) for file in files]))

    def _opened(self, name: str, act: Any) -> None:
        from napari_mambaseg._benchmark_clocks import wait_until

        with self._ticking(name):
            begun = time.perf_counter()
            act()
            wait_until(lambda: self.widget.data.open_button.isEnabled() and len(self.viewer.layers) > 0)
            self.figures[f"{name}_s"] = round(time.perf_counter() - begun, 3)
            self.settle()

    def start_engine(self) -> None:
        """Let the engine look at the machine, as a click on the line at the bottom does."""
        from napari_mambaseg._benchmark_clocks import wait_until

        with self._ticking("child_start"):
            self.widget.examine_asked.emit()
            self.figures["child_start_s"] = round(wait_until(lambda: self.widget.workplace.facts is not None), 3)
        self.widget.doctor.close()
        self.settle()

    def segment(self, name: str) -> None:
        """Press the button and wait for the mask."""
        from napari_mambaseg._benchmark_clocks import wait_until

        with self._ticking(name):
            begun = time.perf_counter()
            self.widget.segment.button.click()
            wait_until(self._idle)
            self.figures[f"{name}_s"] = round(time.perf_counter() - begun, 3)
            self.settle()

    def _idle(self) -> bool:
        return str(self.widget.segment.button.text()).startswith("Segment")

    @contextlib.contextmanager
    def _ticking(self, name: str) -> Iterator[None]:
        """Count ticks; the making of layers by napari, and the first picture of them, are counted apart."""
        from napari_mambaseg._benchmark_clocks import draws_timed, milliseconds, summary

        before = len(self.ledger.creations)
        draws: list[tuple[float, float]] = []
        with draws_timed(self.canvas, draws), self.ticks() as ticks:
            yield
        creations = self.ledger.creations[before:]
        firsts = [next((draw for draw in draws if draw[0] >= ended), None) for _, ended in creations]
        apart = [*creations, *(draw for draw in firsts if draw is not None)]
        spans = ticks.spans(apart)
        self.figures |= summary(f"{name}_tick_ms", [milliseconds(span) for span in spans])
        self.worst[name] = ticks.worst(spans, self.ledger)
        self.figures |= summary(f"{name}_draw_ms", [milliseconds(draw) for draw in draws])
        if creations:
            self.figures[f"{name}_layer_creation_ms"] = round(max(map(milliseconds, creations)), 1)
            self.figures[f"{name}_first_draw_ms"] = round(max(milliseconds(one) for one in firsts if one), 1)

    def paint(self) -> None:
        """Paint on the mask while nothing runs, by the layer and by the mouse; then by the mouse during a run."""
        from napari_mambaseg._benchmark_clocks import summary
        from napari_mambaseg._benchmark_mouse import drag

        mask = self.viewer.layers[-1]
        self.viewer.layers.selection.active = mask
        mask.mode, mask.brush_size, mask.selected_label = "paint", BRUSH, 1
        number = mask.data.shape[0] // 2
        self.viewer.dims.set_current_step(0, number)
        self.settle()
        times = []
        for column in range(40, 40 + 2 * _STROKES * 5):
            begun = time.perf_counter()
            mask.paint((number, 60, column), 1)
            times.append(_ms(begun))
        self.figures |= summary("layer_paint_ms", times)
        before = int(np.count_nonzero(mask.data[number]))
        idle = [ms for turn in range(_STROKES) for ms in drag(self.app, self.canvas.native, turn)]
        self.figures |= summary("stroke_ms", idle)
        if int(np.count_nonzero(mask.data[number])) == before:
            raise RuntimeError("the mouse did not paint")
        self.widget.segment.button.click()
        mask.mode, busy, turn = "paint", [], 0
        while not self._idle():
            busy += drag(self.app, self.canvas.native, turn := turn + 1)
        self.figures |= summary("stroke_during_run_ms", busy)

    def refresh(self) -> None:
        """Time how long our own screens take to be made and drawn."""
        from napari_mambaseg._benchmark_clocks import summary

        for name, controller in (("data", self.widget.data_controller), ("segment", self.widget.segment_controller)):
            times = []
            for _ in range(50):
                begun = time.perf_counter()
                controller.refresh()
                times.append(_ms(begun))
            self.figures |= summary(f"{name}_refresh_ms", times)

    def close(self) -> None:
        """Close the window and wait for the engine to end."""
        from napari_mambaseg._benchmark_clocks import settle

        self.viewer.close()
        settle(1.0)


def measure(data: Path | None) -> dict[str, Any]:
    """Do it all and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        files = sorted(p for p in data.iterdir() if p.name.endswith((".nii", ".nii.gz"))) if data else None
        bench = Bench()
        try:
            bench.sample()
            bench.open(files or make_case(Path(folder)))
            layer = bench.viewer.layers[0]
            bench.start_engine()
            bench.widget.tabs.setCurrentIndex(1)
            bench.segment("first_run")
            bench.segment("second_run")
            bench.paint()
            bench.refresh()
            facts = bench.widget.workplace.facts
            return {
                "benchmark": "paint",
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
                "volume": {"shape": list(layer.data.shape), "dtype": str(layer.data.dtype), "files": len(files or [1])},
                "targets": _targets(bench),
                **{name: target["is"] for name, target in _targets(bench).items()},
                **bench.figures,
                "longest_own_calls": bench.ledger.longest(),
                "worst_ticks": bench.worst,
                "machine": _machine(facts),
                "versions": {**facts["versions"], "vispy": version("vispy"), "qtpy": version("qtpy")},
            }
        finally:
            bench.close()


def _targets(bench: Bench) -> dict[str, Any]:
    """Say what was aimed at and whether it was met."""
    figures = bench.figures
    own = bench.ledger.longest(1)[0]["ms"]
    runs = ("first_run", "second_run")
    worst = max(figures[f"{run}_tick_ms_max"] for run in runs)
    middle = max(figures[f"{run}_tick_ms_median"] for run in runs)
    return {
        "tick_ms_median": {"below": 20, "is": middle, "met": middle < 20},
        "tick_ms_max": {"below": 100, "is": worst, "met": worst < 100},
        "longest_own_ms": {"below": 50, "is": own, "met": own < 50},
    }


def _put_under_watch(ledger: Any) -> None:
    """Time the methods of the controllers that Qt and napari call."""
    from napari_mambaseg._controllers import data, doctor, segment, workplace

    common = ("refresh", "_on_progress", "_on_end", "cancel")
    ledger.watch(data.DataController, "open", "open_sample", "select", *common)
    ledger.watch(segment.SegmentController, "press", "refresh_models", "_on_point", "choose_layer", *common)
    ledger.watch(doctor.DoctorController, "examine", "_on_end")
    ledger.watch(workplace.LayerWatch, "_on_event")
    users: tuple[Any, ...] = (data, segment)
    for module in users:
        module.add_described = ledger.creating(module.add_described)


def _machine(facts: Any) -> dict[str, Any]:
    from vispy.gloo import gl  # type: ignore[import-untyped]

    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text(encoding="utf-8").splitlines() if cpus.is_file() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    kept = ("platform", "cores", "threads", "device", "device_name", "backend")
    return {**{name: facts[name] for name in kept}, "cpu": model, "opengl": gl.glGetParameter(gl.GL_RENDERER)}


def _ms(begun: float) -> float:
    return round(1e3 * (time.perf_counter() - begun), 3)


def main() -> None:
    """Measure in a window with settings of its own, so that the user's stay as they are."""
    parser = argparse.ArgumentParser(prog="mambaseg benchmark paint")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"NAPARI_CONFIG": str(Path(home, "napari.yaml")), "MAMBASEG_HOME": home}
        with contextlib.redirect_stdout(sys.stderr):
            found = measure(given.data)
    print(json.dumps(found, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
