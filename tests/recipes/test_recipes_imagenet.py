"""The ImageNetConfig recipe on a folder of two colours: from pictures to figures, and to the same bits after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepseek.cli import main
from deepseek.recipes import imagenet
from deepseek.train.loop.images import read_accuracy, read_batches

Image = pytest.importorskip("PIL.Image")
NUM = 22  # pictures of a class; of 44, two ranks read 5 batches of 4 each and leave out 4
SMALL = {"classes": 2, "net": "tiny", "width": 4, "size": 32, "batch_size": 4, "workers": 0, "lr": 8, "device": "cpu"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red cats, green dogs. The bytes of a picture tell its class and number."""
    root = tmp_path_factory.mktemp("photos")
    for part, num in (("train", NUM), ("val", 3)):
        for label, name in enumerate(("cat", "dog")):
            (root / part / name).mkdir(parents=True)
            for number in range(num):
                pixels = np.random.default_rng((label, number)).integers(0, 80, (40, 52, 3))
                pixels[..., label] += 120
                Image.fromarray(pixels.astype(np.uint8)).save(root / part / name / f"{number}.jpg")
    return root


def arguments(folder: Path, out: Path, **more: Any) -> list[str]:
    chosen = {**SMALL, "train.epochs": 4, "train.ema_decay": 0.5, **more}
    settings = [part for key, value in chosen.items() for part in ("--set", f"{key}={value}")]
    return ["recipe", "imagenet", str(folder), "--out", str(out), *settings, "--json"]


def test_it_learns_two_colours(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(folder, tmp_path)) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["num_steps"] == 4 * 11
    assert figures["metrics"]["val_top1"]["value"] == figures["metrics"]["val_top5"]["value"] == 1.0
    assert Path(figures["weights"]).is_file()


def test_what_is_set_of_the_training_leaves_the_other_choices(tmp_path: Path, capsys: Any) -> None:
    assert main(["recipe", "imagenet", str(tmp_path), "--out", "out", "--set", "train.epoch=3"]) == 2
    assert "Did you mean 'train.epochs'?" in capsys.readouterr().err
    chosen = imagenet.ImageNetConfig("photos", "out")
    job = imagenet.build_job(chosen, 8)
    assert (chosen.train.precision, chosen.train.ema_decay, chosen.train.warmup) == ("bf16", 0.9998, 0.05)
    assert job.optimizer.args["lr"] == chosen.lr  # 8 ranks of 128 are 1,024 pictures
    assert job.mix.mixup == chosen.mixup


def test_a_pass_is_the_same_again_and_goes_on_in_its_middle(folder: Path) -> None:
    shared_options: dict[str, Any] = {"size": 16, "batch_size": 4, "seed": 3}
    batches, again = (read_batches(str(folder / "train"), **shared_options) for _ in range(2))
    first = list(batches)
    assert len(first) == len(batches) == 11
    for _, _ in zip(range(4), again, strict=False):
        state = again.state_dict()
    behind = read_batches(str(folder / "train"), **shared_options)
    behind.load_state_dict(state)
    for one, other in zip(first[4:], behind, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    batches.set_epoch(1)
    second = list(batches)
    labels = [torch.cat([each for _, each in epoch]).tolist() for epoch in (first, second)]
    assert sorted(labels[0]) == sorted(labels[1]) == [0] * NUM + [1] * NUM
    assert labels[0] != labels[1]
    colours = torch.cat([images.float().mean((2, 3)).argmax(1) for images, _ in first])
    assert colours.tolist() == labels[0]


def test_ranks_have_other_pictures_and_as_many_batches(folder: Path) -> None:
    whole = read_batches(str(folder / "train"), size=4, batch_size=3, least_share=1.0, mirror=False)
    shares = []
    for rank in range(2):
        whole.share = (rank, 2)
        shares.append([image.numpy().tobytes() for images, _ in whole for image in images])
    assert len(shares[0]) == len(shares[1]) == 21
    assert len({*shares[0], *shares[1]}) == 42


def test_accuracy_counts_what_a_net_says(folder: Path) -> None:
    class Says(torch.nn.Module):
        """The redder a picture the surer a cat; of ten classes it says eight more."""

        def __init__(self) -> None:
            super().__init__()
            self.sharp = torch.nn.Parameter(torch.tensor(0.01))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            red, green = images.float().mean((2, 3))[:, :2].unbind(1)
            wrong = torch.arange(8.0).expand(len(images), -1) / 100
            return torch.cat([torch.stack([red * 0 + 1, (green - red) * self.sharp], 1), wrong], 1)

    figures = read_accuracy(str(folder / "val"), size=32, batch_size=4)(Says())
    assert figures["top1"] == 1.0 or 0.5 <= figures["top1"] <= 1  # dogs are right where they are green enough
    assert figures["top5"] == 1.0
    assert figures["loss"] > 0


@pytest.mark.slow
def test_two_ranks_under_torchrun_end_at_the_same_bits_after_a_kill(folder: Path, tmp_path: Path) -> None:
    def start(out: Path) -> subprocess.Popen[str]:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        more = {"train.checkpoint_every": 1, "workers": 1}
        command = [*torchrun, "-m", "deepseek", *arguments(folder, out, **more)]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )  # fmt: skip

    whole = start(tmp_path / "whole")
    wanted = json.loads(whole.communicate(timeout=300)[0].splitlines()[-1])
    assert whole.returncode == 0
    assert wanted["num_steps"] == 4 * 5
    assert wanted["metrics"]["val_top1"]["value"] > 0.9
    cut, deadline_s = start(tmp_path / "cut"), time.monotonic() + 200
    while not list((tmp_path / "cut" / "checkpoints").glob("step-0000000[3-9]")) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    for rank in Path(f"/proc/{cut.pid}/task/{cut.pid}/children").read_text().split():
        os.kill(int(rank), signal.SIGKILL)
    cut.communicate(timeout=60)
    assert cut.returncode != 0
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    again = start(tmp_path / "cut")
    figures = json.loads(again.communicate(timeout=300)[0].splitlines()[-1])
    assert figures["digest"] == wanted["digest"]
