# ruff: noqa: T201 - it tells CI's log where it stands
"""Build the distributions, install the wheel alone in a clean environment, and use it as its first user would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

TOP = Path(__file__).parents[1]
MODEL = "mambaseg/models/brain-tumour/1.0"
NEEDED = ("napari_mambaseg/napari.yaml", f"{MODEL}/model.json", f"{MODEL}/model.safetensors")
# Runs in the clean environment, which has no napari, no Qt and no checkout to import from.
FIRST_USE = """
import mambaseg
from mambaseg.synthetic import synthetic_brain
case = synthetic_brain(1, shape=(96, 112, 16), spacing_mm=(2.0, 2.0, 8.0), channels=["flair"])
mambaseg.write(case.volume, "flair.nii.gz")
mambaseg.write(case.truth, "truth.nii.gz")
"""


def main() -> None:
    """Do it all in a temporary folder."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        wheel = _build(folder / "dist")
        programs = _install(wheel, folder / "clean")
        _use(programs, folder)
    print("wheel-check: the wheel holds the manifest and the model, and works installed alone")


def _build(folder: Path) -> Path:
    """Return the wheel, built from the sdist as installers do; both must hold what is no Python."""
    _run(sys.executable, "-m", "build", "--outdir", str(folder), str(TOP), quiet=True)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        _expect(NEEDED, archive.namelist(), wheel)
    with tarfile.open(sdist) as archive:
        _expect(NEEDED, archive.getnames(), sdist)
    print(f"wheel-check: {wheel.name} has {wheel.stat().st_size / 1e6:.1f} MB")
    return wheel


def _expect(needed: tuple[str, ...], names: list[str], where: Path) -> None:
    missing = [each for each in needed if not any(name.endswith(each) for name in names)]
    if missing:
        raise SystemExit(f"wheel-check: {where.name} lacks {', '.join(missing)}")


def _install(wheel: Path, folder: Path) -> Path:
    """Return the folder of the clean environment's programs."""
    venv.create(folder, with_pip=True)
    programs = folder / "bin"
    pip = (str(programs / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check")
    _run(*pip, "-c", str(TOP / "constraints.txt"), str(wheel), "npe2", quiet=True)
    return programs


def _use(programs: Path, folder: Path) -> None:
    """Validate the manifest, list the models, segment a head and score it."""

    def call(program: str, *arguments: str) -> str:
        return _run(str(programs / program), *arguments, folder=folder)

    print(call("npe2", "validate", "napari-mambaseg").strip())
    models = json.loads(call("mambaseg", "models", "--json"))["models"]
    if "brain-tumour" not in [model["name"] for model in models]:
        raise SystemExit(f"wheel-check: the installed package lists the models {models}")
    call("python", "-c", FIRST_USE)
    call("mambaseg", "segment", "flair.nii.gz", "-o", "mask.nii.gz")
    score = json.loads(
        call("mambaseg", "evaluate", "--prediction", "mask.nii.gz", "--reference", "truth.nii.gz", "--json")
    )
    dice = score["cases"][0]["dice"]
    print(f"wheel-check: Dice of a synthetic case {dice}")
    if not dice:
        raise SystemExit("wheel-check: the installed model finds nothing of a synthetic tumour")


def _run(*command: str, folder: Path | None = None, quiet: bool = False) -> str:
    """Run a program and return what it prints; end with its last words if it fails."""
    # Nothing of the checkout, nor models of the user.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["MAMBASEG_HOME"] = str(folder or TOP / "no-such-folder")
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"wheel-check: {' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    if not quiet and done.stderr.strip():
        print(done.stderr.strip()[-2000:])
    return done.stdout


if __name__ == "__main__":
    main()
