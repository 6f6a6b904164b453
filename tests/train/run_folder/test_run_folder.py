"""What a run leaves beside its weights: a log that goes back with its checkpoints, a record, a page."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from deepseek.cli.train import stopped_error
from deepseek.errors import InputError, IntegrityError, MissingError
from deepseek.train.run_folder.curves import LOG_FILE, Curves, RunFolderSink, StepFigures, read_log
from deepseek.train.run_folder.record import RunRecord, newest_checkpoint, read_run
from deepseek.train.run_folder.report import render_report

RECORD = RunRecord("running", "..", {"model": {"build": "net.py:build"}, "train": {"epochs": 4}}, "deepseek train a")
REPORT = {
    "weights": "a/model.safetensors", "digest": "ab" * 32, "model": "net.py:build<b>", "num_epochs": 2, "num_steps": 8,
    "metrics": {"train_loss": {"value": 0.5}, "val_loss": {"value": 0.6}, "val_accuracy": {"value": 0.75}},
    "stopped_early": True, "size_bytes": 1000, "wall_s": 2.5, "seed": 3, "warnings": ["a checkpoint was passed over"],
    "versions": {"torch": "2.13"},
}  # fmt: skip


def test_steps_that_are_taken_again_replace_what_was_logged_of_them(tmp_path: Path) -> None:
    sink = RunFolderSink(tmp_path, RECORD, go_on=False)
    sink.start({})
    for step in (10, 20, 30):
        sink.log(step, {"train/loss": 1 / step, "train/grad_norm": math.nan})
    sink.log(30, {"val/loss": 0.5})
    again = RunFolderSink(tmp_path, RECORD, go_on=True)
    again.start({})
    again.log(20, {"train/loss": 9.0})  # the last checkpoint lay before step 20
    assert [(entry.step, entry.values) for entry in read_log(tmp_path / LOG_FILE)] == [
        (10, {"train/loss": 0.1, "train/grad_norm": None}), (20, {"train/loss": 9.0}),
    ]  # fmt: skip
    assert again.entries() == read_log(tmp_path / LOG_FILE)
    anew = RunFolderSink(tmp_path, RECORD, go_on=False)
    assert read_log(tmp_path / LOG_FILE)  # another run that is refused before its start changes nothing
    anew.start({})
    assert read_log(tmp_path / LOG_FILE) == []


def test_a_line_that_a_kill_has_cut_is_left_out(tmp_path: Path) -> None:
    (tmp_path / LOG_FILE).write_text('{"step": 1, "train/loss": 2.0}\n{"step": 2, "trai')
    assert read_log(tmp_path / LOG_FILE) == [StepFigures(1, {"train/loss": 2.0})]


def test_curves_hold_each_epoch_and_the_steps(tmp_path: Path) -> None:
    curves = Curves.of([2.0, 1.0], [{"epoch": 1, "loss": 1.5, "accuracy": math.inf}], [StepFigures(5, {"a": 1.0})])
    assert curves.by_epoch("train_loss") == [(1.0, 2.0), (2.0, 1.0)]
    assert curves.by_epoch("val_loss") == [(2.0, 1.5)]
    assert curves.by_epoch("val_accuracy") == []
    assert curves.metrics() == ["val_accuracy"]
    assert json.loads(json.dumps(curves.to_dict(), allow_nan=False))["steps"] == [{"step": 5, "a": 1.0}]


def test_the_page_says_what_came_out_and_why_a_curve_is_not_there() -> None:
    steps = [StepFigures(step, {"train/lr": 0.1 / step}) for step in (1, 2, 3)]
    validations = [{"epoch": epoch, "loss": 0.6, "accuracy": 0.75} for epoch in (0, 1)]
    record = RunRecord("finished", "..", RECORD.job, RECORD.command, report=REPORT)
    page = render_report(record, Curves.of([0.7, 0.5], validations, steps))
    for words in (
        "validation loss 0.600 after 2 epochs, 8 steps, stopped early", "2 轮、8 步后，验证损失 0.600，提前停止",
        "Throughput: no curve.", "train.log_every = 1", "a checkpoint was passed over", "deepseek train a",
        "0.500 (epoch 2)", "验证：准确率",
    ):  # fmt: skip
        assert words in page
    assert "<b>" not in page


def test_a_record_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"there is no run\.json"):
        read_run(tmp_path)
    RECORD.write(tmp_path)
    assert read_run(tmp_path) == RECORD
    for text, kind, words in (
        ('{"format": 2}', InputError, "is of the format 2"),
        ('{"format": 1, "status": "lost", "home": "", "job": {}}', InputError, "status"),
        ("[", IntegrityError, "cannot be read"),
    ):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(kind, match=words):
            read_run(tmp_path)


def write_checkpoint(folder: Path, step: int, epoch: int) -> None:
    path = folder / "checkpoints" / f"step-{step:08d}"
    path.mkdir(parents=True)
    (path / "checkpoint.json").write_text(json.dumps({"step": step, "epoch": epoch, "config": {"epochs": 4}}))


def test_a_stop_says_what_is_saved_and_what_goes_on(tmp_path: Path) -> None:
    command = "deepseek train run.toml --resume"
    assert str(stopped_error(tmp_path, command)).startswith("stopped before the first checkpoint: nothing is saved.")
    RECORD.write(tmp_path)
    write_checkpoint(tmp_path, 8, 2)
    write_checkpoint(tmp_path, 12, 3)
    (tmp_path / "checkpoints" / "step-00000012" / "checkpoint.json").write_text("{")
    saved = newest_checkpoint(tmp_path)
    assert saved is not None
    assert (saved.step, saved.epoch, saved.num_epochs) == (8, 3, 4)
    assert "stopped at once; saved is step 8 (epoch 3 of 4)" in str(stopped_error(tmp_path, command))
    RunRecord("stopped", "..", {}, stopped_step=8).write(tmp_path)
    error = stopped_error(tmp_path, command)
    assert error.message.startswith("stopped after step 8 (epoch 3 of 4), which is saved in ")
    assert (error.fix, error.exit_code) == (f"go on with: {command}", 130)
