"""`mambaseg benchmark`: which there are. The window's runs in a process of its own: the engine knows no window."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mambaseg.errors import FileError, MambaSegError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from mambaseg.jobs import Progress

    Task = Callable[[], Generator[Progress, None, dict[str, Any]]]
    Table = Callable[[dict[str, Any]], str]

ENGINE = ("case", "growth", "scan")
"""Those that need no window."""
_PROGRAMS = {"paint": "napari_mambaseg._benchmark_paint"}
_VIRTUAL_SCREEN = ("xvfb-run", "-a", "-s", "-screen 0 1280x1024x24")


def engine_benchmark(name: str, device: str, data: Path | None, large: bool) -> tuple[Task, Table]:
    """Return one of `ENGINE` as a task and what makes a table of its result."""
    if name == "case":
        from mambaseg import benchmark_case as case

        return lambda: case.benchmark_case(device, data), case.table
    if name == "growth":
        from mambaseg import benchmark_growth as growth

        return lambda: growth.benchmark_growth(device, large), growth.table
    from mambaseg import benchmark_scan as scan

    return lambda: scan.benchmark_scan(device), scan.table


def run_benchmark(name: str, data: Path | None = None) -> dict[str, Any]:
    """Run a benchmark and return what it measured.

    Parameters
    ----------
    name
        "paint": how smooth the window stays while a volume is segmented and a mask is painted.
    data
        A folder with the NIfTI files of one case; a drawn one by default.

    Raises
    ------
    MambaSegError
        If there is no such benchmark, no napari, no screen, no file; or if the benchmark itself fails.
    """
    if name not in _PROGRAMS:
        raise MambaSegError(f"there is no benchmark {name!r}; choose from {', '.join(sorted((*ENGINE, *_PROGRAMS)))}")
    if data is not None and not (data.is_dir() and [*data.glob("*.nii"), *data.glob("*.nii.gz")]):
        raise FileError(f"{data} is no folder with .nii or .nii.gz files; give the folder of one case to --data")
    if find_spec("napari") is None:
        raise MambaSegError("napari is not installed here; run `pip install 'napari-mambaseg[all]'` and try again")
    words = [*_screen(), sys.executable, "-m", _PROGRAMS[name], "--json"]
    words += ["--data", str(data.absolute())] if data is not None else []
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise MambaSegError(f"the benchmark {name} ended with code {done.returncode}: {last}") from None
    command = f"mambaseg benchmark {name} --json" + (" --data FOLDER" if data is not None else "")
    return {"benchmark": name, "command": command, **found}


def in_words(found: dict[str, Any]) -> str:
    """Return the targets as lines of text, then every figure."""
    lines = [
        f"{name}: {target['is']} ms, {'below' if target['met'] else 'NOT below'} {target['below']} ms"
        for name, target in found.get("targets", {}).items()
    ]
    return "\n".join([*lines, "", *(f"{name}: {value}" for name, value in found.items() if _is_figure(value))])


def _is_figure(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _screen() -> tuple[str, ...]:
    """Return what to put before a command so that it has a screen."""
    has_screen = not sys.platform.startswith("linux") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    if has_screen:
        return ()
    if shutil.which(_VIRTUAL_SCREEN[0]) is None:
        raise MambaSegError(
            "there is no screen (DISPLAY is not set) and no xvfb-run; run this in a desktop session, or install xvfb"
        )
    return _VIRTUAL_SCREEN


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of `ENGINE` where the command line's own packages are missing: python -m mambaseg.benchmark case."""
    from mambaseg.jobs import Job

    parser = argparse.ArgumentParser(prog="python -m mambaseg.benchmark")
    parser.add_argument("name", choices=ENGINE)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--large", action="store_true")
    given = parser.parse_args(arguments)
    task, _ = engine_benchmark(given.name, given.device, given.data, given.large)
    sys.stdout.write(json.dumps({"benchmark": given.name, **Job(task).run()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
