"""The command line: `mambaseg segment | train | evaluate | compare | models | doctor | benchmark`.

Exit code 0 on success; 2, with one line on standard error that starts with "mambaseg: ", for what the user can mend;
1 for a fault of ours. Results go to standard output, progress to standard error and only to a terminal.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer import BadParameter
from typer.exceptions import Exit, TyperException

from mambaseg.errors import FileError, MambaSegError, VolumeError
from mambaseg.jobs import Job, JobCancelled
from mambaseg.short_process import end_quickly, importing

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from mambaseg.checkpoint import Checkpoint
    from mambaseg.jobs import Progress
    from mambaseg.segmentation import Segmentation
    from mambaseg.volume import LabelMap, Volume

# Threads that wait by spinning starve each other on a machine that is busy with napari: measured here, the same
# batch took up to 2.8 s instead of 0.25 s. Read when torch is loaded, so before any task.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

T = TypeVar("T")
app = typer.Typer(
    name="mambaseg",
    help="Segment MRI volumes with small Mamba networks. Not a medical device.",
    no_args_is_help=False,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    end_quickly()
    try:
        code = app(args=arguments, standalone_mode=False)
    except MambaSegError as error:
        code = _complain(str(error))
    except TyperException as error:
        words = error.format_message() if isinstance(error, BadParameter) else str(error)
        code = _complain(f"{words.rstrip('.') or 'no command was given'}; see `mambaseg --help`")
    except (JobCancelled, KeyboardInterrupt):
        print("mambaseg: cancelled", file=sys.stderr)
        code = 130
    except Exit as stop:
        code = stop.exit_code
    sys.exit(code or 0)


@app.command()
def segment(
    image: Annotated[list[str], typer.Argument(help="One file, or CHANNEL=FILE pairs, or a 4-D file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The mask to write: .nii, .nii.gz or .mgz.")],
    model: Annotated[str, typer.Option(help="A name from `mambaseg models`, or a folder.")] = "brain-tumour",
    device: Device = "auto",
    backend: Annotated[str, typer.Option(help="The scan's back end; see `mambaseg doctor`.")] = "auto",
    only_slice: Annotated[int | None, typer.Option("--slice", help="Only this axial slice, counted from 0.")] = None,
    probabilities: Annotated[Path | None, typer.Option(help="Also write probabilities to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Segment a volume; the mask lies on the volume's own grid."""
    with importing():
        from mambaseg.files import check_writable_target, write
        from mambaseg.registry import load_model
        from mambaseg.segment import segment as task

    begun = time.perf_counter()
    channels = _channel_files(image)
    inputs = list(channels.values())
    check_writable_target(output, inputs)
    if probabilities is not None:
        check_writable_target(probabilities, [*inputs])
        if probabilities.absolute() == output.absolute():
            raise FileError(f"{output} is given for the mask and for the probabilities; give two names")
    checkpoint = load_model(model)
    volume = _load(channels, checkpoint)
    loaded = time.perf_counter()
    found = _run(lambda: task(volume, checkpoint, device, backend, only_slice, probabilities is not None))
    between = time.perf_counter()
    if probabilities is not None and found.probabilities is not None:
        _write_both(found.probabilities, probabilities, found.labels, output)
    else:
        write(found.labels, output)
    ended = time.perf_counter()
    seconds = {"load": loaded - begun, **found.seconds, "write": ended - between, "total": ended - begun}
    report = _report(found, output, seconds)
    _print(report, as_json, _in_words(report))


@app.command()
def train(
    dataset: Annotated[Path, typer.Argument(help="A folder in nnU-Net's raw layout with a splits.json.")],
    out: Annotated[Path, typer.Option(help="The folder of this run.")],
    network: Annotated[
        str, typer.Option(help="mambaseg-2d; to compare with: twin-2d, unet, seed-unet, seed-mambaunet.")
    ] = "mambaseg-2d",
    name: Annotated[str, typer.Option(help="The new model's name.")] = "model",
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in OUT.")] = False,
    steps: Annotated[int, typer.Option(min=1)] = 6300,
    batch: Annotated[int, typer.Option(min=1)] = 32,
    learning_rate: Annotated[float, typer.Option(min=1e-8)] = 1.5e-3,
    seed: int = 0,
    fold: Annotated[str | None, typer.Option(help="K/N: hold the K-th of N folds of patients back as val.")] = None,
    over: Annotated[str | None, typer.Option(help="What --fold divides: train, the default, or all cases.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a network on a data set; the split is by patient."""
    from mambaseg.config import NETWORKS, TrainConfig
    from mambaseg.folds import parse_fold
    from mambaseg.train import train as task

    if over is not None and fold is None:
        raise MambaSegError(f"--over {over} says what is divided into folds; give --fold K/N with it")
    parts = None if fold is None else parse_fold(fold)
    if network not in NETWORKS:
        raise MambaSegError(f"there is no network {network!r}; choose from {', '.join(NETWORKS)}")
    config = TrainConfig(steps=steps, batch=batch, learning_rate=learning_rate, seed=seed)
    settings = NETWORKS[network]()
    options: dict[str, Any] = {"name": name, "device": device, "resume": resume, "fold": parts, "over": over or "train"}
    checkpoint = _run(lambda: task(dataset, out, settings, config, **options))
    card = checkpoint.card.model_dump(mode="json")
    figures = ", ".join(f"{key} {figure['value']}" for key, figure in card["metrics"].items())
    _print(card, as_json, f"{checkpoint.title} in {out}: {card['parameters']} parameters, {figures}")


@app.command()
def evaluate(
    prediction: Annotated[Path, typer.Option(help="A mask, or a folder of masks.")],
    reference: Annotated[Path, typer.Option(help="The true mask, or a folder with files of the same names.")],
    merge_labels: Annotated[bool, typer.Option("--merge-labels", help="Score all labels as one, \"any\".")] = False,
    as_json: AsJson = False,
) -> None:
    """Score masks: Dice, IoU, HD95, surface Dice at 1 mm, volume error."""
    from mambaseg.evaluate import evaluate as task

    result = _run(lambda: task(prediction, reference, merge_labels))
    lines = [
        f"{one['case']} label {one['label']}: Dice {one['dice']:.3f}, IoU {one['iou']:.3f}, "
        f"HD95 {one['hd95_mm']:.1f} mm, NSD 1 mm {one['nsd_1mm']:.3f}, volume error {one['volume_error_ml']:+.1f} ml"
        for one in result["cases"]
    ]
    lines += [f"mean label {label}: Dice {figures['dice']:.3f}" for label, figures in result["mean"].items()]
    _print(result, as_json, "\n".join(lines))


@app.command()
def compare(
    dataset: Annotated[Path, typer.Argument(help="A folder in nnU-Net's raw layout with a splits.json.")],
    models: Annotated[str, typer.Option(help="Names from `mambaseg models` or folders, with commas between them.")],
    out: Annotated[Path, typer.Option(help="The folder for masks, tables and plots.")],
    split: Annotated[str, typer.Option(help="val, test or train.")] = "val",
    channels: Annotated[str, typer.Option(help="all, or the required ones alone.")] = "all",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Compare models on the same patients: scores with intervals, size, cost, plots."""
    from mambaseg.compare import compare as task
    from mambaseg.compare_tables import in_words

    names = [name.strip() for name in models.split(",") if name.strip()]
    result = _run(lambda: task(dataset, names, out, split, channels, device))
    _print(result, as_json, f"{in_words(result)}\n{out / 'table.md'} has the rest")


@app.command()
def models(
    action: Annotated[str, typer.Argument(help="list.")] = "list",
    as_json: AsJson = False,
) -> None:
    """List the models that are installed."""
    from mambaseg.checkpoint import WEIGHTS
    from mambaseg.registry import list_models

    if action != "list":
        raise MambaSegError(f"`mambaseg models {action}` does not exist; use `mambaseg models list`")
    rows: list[dict[str, Any]] = [
        {
            "name": card.name,
            "version": card.version,
            "parameters": card.parameters,
            "bytes": (folder / WEIGHTS).stat().st_size if (folder / WEIGHTS).is_file() else 0,
            "sha256": card.sha256,
            "path": str(folder),
            "metrics": card.metrics,
        }
        for card, folder in list_models()
    ]
    words = [f"{r['name']} {r['version']}: {r['parameters']:,} parameters, {r['bytes'] / 1e6:.1f} MB" for r in rows]
    _print({"models": rows}, as_json, "\n".join(words) or "no model is installed")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Print versions, devices, back ends, models and folders."""
    from mambaseg.doctor import examine, in_words

    facts = examine()
    _print(facts, as_json, in_words(facts))


@app.command()
def benchmark(
    name: Annotated[
        str,
        typer.Argument(
            help="case: a patient's volume, beside a U-Net; growth: more voxels; paint: how smooth the window stays; "
            "scan: the scan's back ends."
        ),
    ],
    device: Device = "auto",
    data: Annotated[Path | None, typer.Option(help="A folder with NIfTI files, for case and paint.")] = None,
    large: Annotated[bool, typer.Option("--large", help="For growth: also 512 x 512 x 400 voxels.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure on this machine; takes minutes."""
    from mambaseg.benchmark import ENGINE, engine_benchmark, in_words, run_benchmark

    if name in ENGINE:
        task, table = engine_benchmark(name, device, data, large)
        command = f"mambaseg benchmark {name} --device {device} --json"
        found = {"benchmark": name, "command": command, **_run(task)}
        _print(found, as_json, table(found))
        return
    found = run_benchmark(name, data)
    _print(found, as_json, in_words(found))


def _channel_files(images: Sequence[str]) -> dict[str, Path]:
    """Split CHANNEL=FILE pairs; a single plain file stands under the empty name."""
    if len(images) == 1 and ("=" not in images[0] or Path(images[0]).exists()):
        return {"": Path(images[0])}
    found: dict[str, Path] = {}
    for text in images:
        channel, equals, file = text.partition("=")
        if not (channel and equals and file):
            raise VolumeError(f"{text!r} is not CHANNEL=FILE; give one file, or pairs: flair=a.nii.gz t1=b.nii.gz")
        if channel.lower() in found:
            raise VolumeError(f"the channel {channel!r} is given twice; give each channel once")
        found[channel.lower()] = Path(file)
    return found


def _load(channels: dict[str, Path], checkpoint: Checkpoint) -> Volume:
    """Read the files, onto the grid of the model's first channel among them."""
    from mambaseg.files import read
    from mambaseg.segment import name_channels

    if "" in channels:
        return name_channels(read(channels[""]), checkpoint)
    from mambaseg.combine import combine  # Only here: it loads SciPy.

    known = [channel.name for channel in checkpoint.card.channels]
    unknown = [name for name in channels if name not in known]
    if unknown:
        raise VolumeError(f"the model {checkpoint.title} has no channel {unknown[0]!r}; it knows {', '.join(known)}")
    return combine({name: read(path) for name, path in channels.items()})


def _run(task: Callable[[], Generator[Progress, None, T]]) -> T:
    """Run a task with a progress bar on a terminal."""
    job = Job(task)
    if not sys.stderr.isatty():
        return job.run()
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task("starting", total=None)

        def show(event: Progress) -> None:
            figures = " ".join(f"{key} {value:.3g}" for key, value in event.metrics.items())
            bar.update(row, description=f"{event.stage} {figures}".strip(), completed=event.step, total=event.total)

        job.events.progressed.connect(show)
        return job.run()


def _write_both(maps: Volume, probabilities: Path, labels: LabelMap, output: Path) -> None:
    """Write two files or none: the first is held back under a temporary name until the second is there."""
    from mambaseg.atomic import replacing
    from mambaseg.files import write

    with replacing(probabilities) as held:
        try:
            write(maps, held)
        except FileError as error:
            raise FileError(str(error).replace(str(held), str(probabilities))) from None
        write(labels, output)


def _report(found: Segmentation, output: Path, seconds: dict[str, float]) -> dict[str, Any]:
    return {
        "output": str(output),
        "model": found.model,
        "version": found.version,
        "device": found.device,
        "backend": found.backend,
        "threads": found.threads,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "ml": {name: round(value, 3) for name, value in found.labels.volumes_ml().items()},
        "warnings": list(found.warnings),
    }


def _in_words(report: dict[str, Any]) -> str:
    """Return a segmentation's report as people read it; warnings go to standard error at once."""
    for warning in report["warnings"]:
        print(f"mambaseg: note: {warning}", file=sys.stderr)
    volumes = ", ".join(f"{name} {value:.1f} ml" for name, value in report["ml"].items())
    how = f"{report['model']} {report['version']} on {report['device']}, {report['backend']} back end"
    return f"{report['output']}: {volumes} ({how}, {report['seconds']['total']:.1f} s)"


def _print(values: dict[str, Any], as_json: bool, words: str) -> None:
    print(json.dumps(values, indent=1) if as_json else words)


def _complain(message: str) -> int:
    """Print one line, whatever the message holds."""
    print("mambaseg: " + " ".join(message.split()), file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
