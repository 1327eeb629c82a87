"""Training: a whole small run, resuming, what is written, augmentation."""

import csv
import json

import numpy as np
import pytest
import torch

from mambaseg.augment import Augment
from mambaseg.checkpoint import load_checkpoint
from mambaseg.config import MambaSeg2dConfig, TrainConfig
from mambaseg.errors import FileError, ModelError
from mambaseg.jobs import Job, JobCancelled
from mambaseg.train import train

NETWORK = MambaSeg2dConfig(widths=(4, 8, 8, 8, 8), depths=(1, 1, 1, 1, 1), head_dim=4, state=4)
CONFIG = TrainConfig(steps=8, batch=4, checkpoint_every=4, validate_every=8, learning_rate=3e-3)


def run(data_set, out, stop_after=None, **options):
    job = Job(lambda: train(data_set, out, NETWORK, CONFIG, device="cpu", **options))
    if stop_after is not None:
        job.events.progressed.connect(lambda event: job.cancel() if event.step == stop_after else None)
    return job.run()


def test_a_run_that_was_interrupted_and_resumed_is_the_same_run(data_set, tmp_path):
    straight = run(data_set, tmp_path / "straight")
    with pytest.raises(JobCancelled):
        run(data_set, tmp_path / "broken", stop_after=6)
    resumed = run(data_set, tmp_path / "broken", resume=True)
    assert resumed.card.sha256 == straight.card.sha256
    assert resumed.card.metrics == straight.card.metrics


def test_a_run_leaves_a_model_a_log_and_no_pickle(data_set, tmp_path):
    run(data_set, tmp_path / "out", name="mine")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["log.csv", "model.json", "model.safetensors", "state.safetensors"]
    model = load_checkpoint(tmp_path / "out")
    assert [(c.name, c.required) for c in model.card.channels] == [("flair", True), ("t1", False)]
    assert model.card.training["config"]["seed"] == 0
    assert "torch" in model.card.training["versions"]
    assert set(model.card.metrics) == {"val_dice", "val_dice_required_only"}
    rows = list(csv.DictReader((tmp_path / "out" / "log.csv").read_text().splitlines()))
    assert rows[-1]["step"] == "8"
    assert float(rows[-1]["val_dice"]) == pytest.approx(model.card.metrics["val_dice"]["value"], abs=1e-4)


def test_training_learns_to_see_a_bright_ball(data_set, tmp_path):
    faster = {"steps": 80, "batch": 6, "ema": 0.8, "validate_every": 80, "learning_rate": 1e-2}
    config = CONFIG.model_copy(update=faster)
    model = Job(lambda: train(data_set, tmp_path / "out", NETWORK, config, device="cpu")).run()
    assert model.card.metrics["val_dice_required_only"]["value"] > 0.5


def test_two_runs_are_never_mixed_in_one_folder(data_set, tmp_path):
    with pytest.raises(FileError, match=r"holds no state\.safetensors; there is nothing to resume"):
        run(data_set, tmp_path / "out", resume=True)
    run(data_set, tmp_path / "out")
    with pytest.raises(FileError, match=r"already holds a run; give --resume to go on with it, or another folder"):
        run(data_set, tmp_path / "out")
    other = CONFIG.model_copy(update={"steps": 9})
    with pytest.raises(FileError, match=r"was started with steps 8, not 9; resume with the same settings"):
        Job(lambda: train(data_set, tmp_path / "out", NETWORK, other, device="cpu", resume=True)).run()


def test_a_damaged_state_is_refused(data_set, tmp_path):
    run(data_set, tmp_path / "out")
    state = tmp_path / "out" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"cannot be resumed .*start again without --resume"):
        run(data_set, tmp_path / "out", resume=True)


def test_a_run_stopped_before_its_first_state_leaves_no_model(data_set, tmp_path):
    with pytest.raises(JobCancelled):
        run(data_set, tmp_path / "out", stop_after=2)
    assert not (tmp_path / "out" / "model.json").exists()


def augmented(seed, drop=0.5, batch=64):
    generator = torch.Generator().manual_seed(seed)
    augment = Augment((32, 48), torch.tensor([False, True, True]), drop, generator)
    slices = torch.zeros(batch, 9, 40, 50)
    slices[:, :, 10:30, 15:35] = 1
    labels = torch.zeros(batch, 1, 40, 50, dtype=torch.uint8)
    labels[:, :, 10:30, 15:35] = 1
    return augment(slices, labels, torch.ones(batch, 3))


def test_augmentation_moves_image_and_label_together():
    slices, labels, present = augmented(0, drop=0.0)
    assert slices.shape == (64, 9, 32, 48)
    bright = (slices[:, 0] > 0.25).float()
    overlap = 2 * (bright * labels[:, 0]).sum((1, 2)) / (bright.sum((1, 2)) + labels[:, 0].sum((1, 2))).clamp(min=1)
    visible = labels[:, 0].sum((1, 2)) > 50
    assert visible.sum() > 32
    assert overlap[visible].median() > 0.85
    assert present.all()


def test_optional_channels_are_dropped_one_by_one_and_both_at_once_and_the_required_one_never():
    slices, _, present = augmented(1)
    kinds = {tuple(row) for row in present.int().tolist()}
    assert kinds == {(1, 1, 1), (1, 0, 1), (1, 1, 0), (1, 0, 0)}
    lost = present[:, 1] == 0
    assert not slices[lost, 3:6].any()


def test_the_same_seed_augments_the_same_and_another_does_not():
    assert torch.equal(augmented(2)[0], augmented(2)[0])
    assert not torch.equal(augmented(2)[0], augmented(3)[0])


def test_the_splits_train_list_alone_is_learned_from(data_set, tmp_path):
    splits = json.loads((data_set / "splits.json").read_text())
    model = run(data_set, tmp_path / "out")
    assert model.card.training_data == f"data: {len(splits['train'])} train cases"
    before = {n: t.clone() for n, t in model.weights.items()}
    import nibabel as nib

    for case in splits["val"]:
        path = data_set / "labelsTr" / f"{case}.nii.gz"
        image = nib.load(path)
        nib.save(nib.Nifti1Image(np.flip(np.asarray(image.dataobj), 0).copy(), image.affine), path)
    again = run(data_set, tmp_path / "again")
    assert all(torch.equal(again.weights[name], tensor) for name, tensor in before.items())
