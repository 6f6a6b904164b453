"""Checkpoints: a run that was killed, stopped or broken off goes on to the very weights of one that was not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from deepseek.errors import InputError, IntegrityError
from deepseek.train import ArrayStream, FitResult, TrainConfig, fit, resume
from deepseek.train.checkpoint.checkpoint import CheckpointManager, verify_checkpoint

SCRIPT = '''
import random, sys, time
from pathlib import Path
import numpy as np, torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from safetensors.torch import save_file
from deepseek.train import TrainConfig, resume

class Noisy(Dataset):
    """Draws from Python's, numpy's and torch's generators for each row, as an augmentation does."""
    def __len__(self): return 96
    def __getitem__(self, i):
        x = torch.full((4,), i / 96) + 0.1 * torch.randn(4) + random.random() + float(np.random.rand())
        return x, x.sum()

class Net(nn.Module):
    def __init__(self, nap_s):
        super().__init__()
        self.nap_s = nap_s
        self.layers = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 1))
    def forward(self, x):
        time.sleep(self.nap_s)
        print("step", flush=True)
        return self.layers(x)[:, 0]

def run(folder, out, nap_s=0.0):
    torch.manual_seed(0); random.seed(0); np.random.seed(0)
    net = Net(nap_s)
    result = resume(net, DataLoader(Noisy(), 8, shuffle=True), TrainConfig(
        epochs=3, lr=0.01, checkpoint_every=5, ema_decay=0.9, patience=9, keep=2),
        loss=nn.functional.mse_loss, checkpoints=folder, validation=DataLoader(Noisy(), 8, shuffle=True))
    save_file(net.state_dict(), out)
    return result

if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), 0.03)
'''


def start(folder: Path, out: Path) -> subprocess.Popen[str]:
    """A run in a process of its own, slow enough to be met in the middle."""
    command = [sys.executable, "-c", SCRIPT, str(folder), str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(folder: Path, out: Path) -> tuple[bytes, FitResult]:
    """The weights and what is told of a run in this process, to its end."""
    scope: dict[str, Any] = {"__name__": "here"}
    exec(SCRIPT, scope)
    report = scope["run"](folder, out)
    return out.read_bytes(), report


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, FitResult]:
    folder = tmp_path_factory.mktemp("whole")
    return ended(folder / "run", folder / "w")


def after_steps(process: subprocess.Popen[str], count: int) -> None:
    assert process.stdout is not None
    for _ in range(count):
        assert process.stdout.readline() == "step\n"


@pytest.mark.slow
def test_a_run_killed_in_the_middle_of_an_epoch_ends_with_the_same_bits(
    uninterrupted: tuple[bytes, FitResult], tmp_path: Path
) -> None:
    """Twelve steps an epoch, a checkpoint each five. The data, dropout, averaged weights, best weights and history are
    all those of the run that was not killed."""
    process = start(tmp_path / "run", tmp_path / "w")
    after_steps(process, 12 + 12 + 8)  # 12 more of each epoch are the validation's: the second epoch's middle
    process.kill()
    process.communicate()
    at = json.loads((sorted((tmp_path / "run").glob("step-*"))[-1] / "checkpoint.json").read_text())
    assert 0 < at["batch"] < 12
    assert ended(tmp_path / "run", tmp_path / "w") == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_the_step_and_the_run_goes_on_with_the_same_bits(
    number: int, uninterrupted: tuple[bytes, FitResult], tmp_path: Path
) -> None:
    process = start(tmp_path / "run", tmp_path / "w")
    after_steps(process, 7)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT, err  # Python's way to say 130
    last = sorted((tmp_path / "run").glob("step-*"))[-1]
    assert json.loads((last / "checkpoint.json").read_text())["step"] % 5  # none of those that were due
    assert ended(tmp_path / "run", tmp_path / "w") == uninterrupted


# ---- in one process


class BrokenError(Exception):
    """What ends a run here."""


def squared(output: Tensor, target: Tensor) -> Tensor:
    return ((output[:, 0] - target) ** 2).mean()


def rows(count: int = 64) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(count, 3, generator=torch.Generator().manual_seed(1))
    return inputs, inputs.sum(1)


def loader() -> ArrayStream:
    return ArrayStream(rows(), 16, torch.Generator().manual_seed(0))


def net(width: int = 8) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, width), nn.Dropout(0.2), nn.Linear(width, 1))


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def breaking_at(step: int) -> Callable[..., Tensor]:
    count = iter(range(1, 10_000))

    def loss(output: Tensor, target: Tensor) -> Tensor:
        if next(count) == step:
            raise BrokenError
        return squared(output, target)

    return loss


def broken_off(folder: Path, config: TrainConfig, *, step: int = 7, **more: Any) -> None:
    with pytest.raises(BrokenError):
        fit(net(), loader(), config, loss=breaking_at(step), checkpoints=folder, **more)


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW([{"params": p[:2]}, {"params": p[2:], "lr": 0.1}], lr=0.01),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.01),
    "radam": lambda p: torch.optim.RAdam(p, lr=0.01),
    "adamax": lambda p: torch.optim.Adamax(p, lr=0.01),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.01),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01),
    "adadelta": lambda p: torch.optim.Adadelta(p, lr=0.01),
    "asgd": lambda p: torch.optim.ASGD(p, lr=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
    "rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_on_with_the_same_bits(name: str, tmp_path: Path) -> None:
    make, config = OPTIMIZERS[name], TrainConfig(epochs=3, checkpoint_every=2)
    step = 20 if name == "lbfgs" else 7
    whole = net()
    result = fit(whole, loader(), config, loss=squared, optimizer=make)
    broken_off(tmp_path, config, optimizer=make, step=step)
    assert CheckpointManager(tmp_path, 1).names()
    again = net()
    assert resume(again, loader(), config, loss=squared, optimizer=make, checkpoints=tmp_path).losses == result.losses
    torch.testing.assert_close(weights(again), weights(whole), rtol=0, atol=0)


SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "onecycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=12),
    "lambda": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 0.9**step),
    "sequence": lambda o: torch.optim.lr_scheduler.SequentialLR(
        o, [torch.optim.lr_scheduler.LinearLR(o), torch.optim.lr_scheduler.ExponentialLR(o, 0.9)], milestones=[4]
    ),
    "plateau": lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, factor=0.3, patience=0, threshold=0.9),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_schedulers_and_scalers_go_on_with_the_same_bits(name: str, precision: Any, tmp_path: Path) -> None:
    config = TrainConfig(epochs=3, checkpoint_every=1, precision=precision, ema_decay=0.5)
    parts = {"scheduler": SCHEDULERS[name], "validation": ArrayStream(rows(), 32)}
    whole = net()
    fit(whole, loader(), config, loss=squared, **parts)
    broken_off(tmp_path, config, **parts)
    again = net()
    resume(again, loader(), config, loss=squared, checkpoints=tmp_path, **parts)
    torch.testing.assert_close(weights(again), weights(whole), rtol=0, atol=0)


def test_a_loader_with_worker_processes_goes_on_in_its_order(tmp_path: Path) -> None:
    def batches() -> DataLoader[Any]:
        return DataLoader(TensorDataset(*rows()), 16, shuffle=True, num_workers=1)

    config = TrainConfig(epochs=3, checkpoint_every=1)
    whole, again = net(), net()
    fit(whole, batches(), config, loss=squared)
    with pytest.raises(BrokenError):
        fit(net(), batches(), config, loss=breaking_at(7), checkpoints=tmp_path)
    resume(again, batches(), config, loss=squared, checkpoints=tmp_path)
    torch.testing.assert_close(weights(again), weights(whole), rtol=0, atol=0)


class Stateful:
    """Keeps its own place, as torchdata's StatefulDataLoader does."""

    def __init__(self) -> None:
        self.place, self.num_reads = 0, 0

    def __len__(self) -> int:
        return 4

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        inputs, target = rows()
        while self.place < 4:
            at = slice(16 * self.place, 16 * (self.place + 1))
            self.place, self.num_reads = self.place + 1, self.num_reads + 1
            yield inputs[at], target[at]
        self.place = 0

    def state_dict(self) -> dict[str, int]:
        return {"place": self.place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.place = state["place"]


def test_data_that_keeps_its_place_is_not_read_again(tmp_path: Path) -> None:
    config = TrainConfig(epochs=3, checkpoint_every=1)
    whole, again, data = net(), net(), Stateful()
    fit(whole, Stateful(), config, loss=squared)
    with pytest.raises(BrokenError):
        fit(net(), Stateful(), config, loss=breaking_at(7), checkpoints=tmp_path)
    with pytest.raises(InputError, match="the data is a list, and the run began with data that kept its own place"):
        resume(net(), list(Stateful()), config, loss=squared, checkpoints=tmp_path)
    resume(again, data, config, loss=squared, checkpoints=tmp_path)
    torch.testing.assert_close(weights(again), weights(whole), rtol=0, atol=0)
    assert data.num_reads == 12 - 6


def test_only_the_last_checkpoints_stay_and_none_is_a_pickle(tmp_path: Path) -> None:
    fit(net(), loader(), TrainConfig(epochs=5, keep=2), loss=squared, checkpoints=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000016", "step-00000020"]
    assert sorted(path.suffix for path in (tmp_path / "step-00000020").iterdir()) == [".json", ".safetensors"]


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    config = TrainConfig(epochs=2, ema_decay=0.5)
    first, again = net(), net(8)
    result = fit(first, loader(), config, loss=squared, checkpoints=tmp_path)
    assert resume(again, loader(), config, loss=squared, checkpoints=tmp_path) == result
    torch.testing.assert_close(weights(again), weights(first), rtol=0, atol=0)


def test_more_epochs_may_be_asked_for(tmp_path: Path) -> None:
    constant = {"schedule": "constant"}
    whole, again = net(), net()
    fit(whole, loader(), TrainConfig(epochs=4, **constant), loss=squared)
    fit(net(), loader(), TrainConfig(epochs=2, **constant), loss=squared, checkpoints=tmp_path)
    resume(again, loader(), TrainConfig(epochs=4, **constant), loss=squared, checkpoints=tmp_path)
    torch.testing.assert_close(weights(again), weights(whole), rtol=0, atol=0)


def scored(folder: Path, scores: list[float], patience: int, epochs: int = 6) -> Any:
    left = iter(scores)
    config = TrainConfig(epochs=epochs, schedule="constant", patience=patience)
    return resume(net(), loader(), config, loss=squared, validation=lambda _: next(left), checkpoints=folder)


def test_a_run_that_stopped_early_goes_on_with_more_patience(tmp_path: Path) -> None:
    assert scored(tmp_path, [1.0, 2.0], 1).stopped_early
    again = scored(tmp_path, [3.0, 0.5, 0.6, 0.7], 3)
    assert (again.stopped_early, len(again.losses), again.best, again.best_epoch) == (False, 6, 0.5, 3)
    last = scored(tmp_path, [0.8], 3, epochs=9)
    assert (last.stopped_early, len(last.losses)) == (True, 7)


def test_patience_that_comes_later_looks_from_then_on_and_keeps_those_weights(tmp_path: Path) -> None:
    scored(tmp_path, [0.1, 2.0], 0, epochs=2)
    seen: list[Tensor] = []

    def validation(model: nn.Module) -> float:
        seen.append(weights(model).clone())
        return float(len(seen))

    model = net()
    config = TrainConfig(epochs=9, schedule="constant", patience=2)
    result = resume(model, loader(), config, loss=squared, validation=validation, checkpoints=tmp_path)
    assert (result.stopped_early, len(result.losses), result.best, result.best_epoch) == (True, 5, 1.0, 2)
    torch.testing.assert_close(weights(model), seen[0], rtol=0, atol=0)


# ---- what is refused


@pytest.mark.parametrize("how", ["cut", "changed", "missing", "facts"])
def test_a_broken_checkpoint_is_named_and_the_one_before_is_used(how: str, tmp_path: Path) -> None:
    config = TrainConfig(epochs=4)
    whole, again = net(), net()
    fit(whole, loader(), config, loss=squared)
    broken_off(tmp_path, config, step=14)
    last, before = tmp_path / "step-00000012", tmp_path / "step-00000008"
    file = last / "checkpoint.json" if how == "facts" else next(last.glob("*.safetensors"))
    content = file.read_bytes()
    if how == "missing":
        file.unlink()
    else:
        file.write_bytes(content[:-7] if how in ("cut", "facts") else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(IntegrityError, match=file.name):
        verify_checkpoint(last)
    good = before.joinpath("checkpoint.json").read_bytes()
    with pytest.warns(UserWarning, match=file.name):
        result = resume(again, loader(), config, loss=squared, checkpoints=tmp_path)
    assert file.name in result.warnings[0]
    assert before.joinpath("checkpoint.json").read_bytes() == good
    torch.testing.assert_close(weights(again), weights(whole), rtol=0, atol=0)
    verify_checkpoint(last)  # written anew on the way


@pytest.mark.parametrize("files", [[], {"a": 3}, {"a": {"size": 0}}, {"a": {"size": 0, "sha256": "0"}}])
def test_facts_of_another_shape_and_a_file_that_cannot_be_read_are_said(files: Any, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("/proc/self/mem")  # a file of no bytes, which the system refuses to read
    (tmp_path / "checkpoint.json").write_text(json.dumps({"format": 1, "files": files}))
    with pytest.raises(IntegrityError, match="cannot be read"):
        verify_checkpoint(tmp_path)


def test_when_no_checkpoint_is_whole_all_are_named(tmp_path: Path) -> None:
    fit(net(), loader(), TrainConfig(epochs=2), loss=squared, checkpoints=tmp_path)
    for path in tmp_path.glob("step-*/*.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(IntegrityError, match=r"step-00000008.*100 bytes.*step-00000004"):
        resume(net(), loader(), TrainConfig(epochs=2), loss=squared, checkpoints=tmp_path)


def test_a_new_run_does_not_begin_over_an_old_one(tmp_path: Path) -> None:
    fit(net(), loader(), TrainConfig(epochs=1), loss=squared, checkpoints=tmp_path)
    with pytest.raises(InputError, match=r"up to step-00000004.*resume"):
        fit(net(), loader(), TrainConfig(epochs=1), loss=squared, checkpoints=tmp_path)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            lambda: net(9),
            r"of another model: it has '0\.weight' as float32 \[8, 3\], and this model as float32 \[9, 3\]",
        ),
        (lambda: nn.Sequential(nn.Linear(3, 1)), r"no longer holds|of another model"),
        (lambda: net().double(), r"'0\.weight' as float32 \[8, 3\], and this model as float64"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(model: Callable[[], nn.Module], words: str, tmp_path: Path) -> None:
    broken_off(tmp_path, TrainConfig(epochs=2))
    other = model()
    before = weights(other).clone()
    with pytest.raises(InputError, match=words):
        resume(other, loader(), TrainConfig(epochs=2), loss=squared, checkpoints=tmp_path)
    torch.testing.assert_close(weights(other), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        (
            lambda p: torch.optim.AdamW([{"params": p[:2]}, {"params": p[2:]}]),
            "2 parameter groups, and the checkpoint 1",
        ),
        (lambda p: torch.optim.AdamW(p[1:]), r"group 0 of the optimizer no longer holds '0\.weight'"),
        (lambda p: torch.optim.AdamW(p[::-1]), "another order"),
        (lambda p: torch.optim.AdamW(p, lr=0.5), r"lr of the optimizer's group 0 is 0\.5, and the run .* 0\.001"),
        (lambda p: torch.optim.SGD(p, lr=0.001), "the optimizer is SGD, and the run .* began with AdamW"),
    ],
)
def test_an_optimizer_that_was_changed_is_refused(optimizer: Any, words: str, tmp_path: Path) -> None:
    broken_off(tmp_path, TrainConfig(epochs=2), optimizer=torch.optim.AdamW)
    with pytest.raises(InputError, match=words):
        resume(net(), loader(), TrainConfig(epochs=2), loss=squared, checkpoints=tmp_path, optimizer=optimizer)


@pytest.mark.parametrize(
    ("first", "then", "words"),
    [
        (None, "step", "is StepLR, .* none"),
        ("step", None, "is none, .* StepLR"),
        ("step", "cosine", "is Cosine.*LR, .* StepLR"),
    ],
)
def test_another_scheduler_is_refused(first: str | None, then: str | None, words: str, tmp_path: Path) -> None:
    trainings: dict[str | None, Any] = {
        None: None, "step": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1),
        "cosine": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4),
    }  # fmt: skip
    config = TrainConfig(epochs=1, schedule="constant")
    fit(net(), loader(), config, loss=squared, scheduler=trainings[first], checkpoints=tmp_path)
    with pytest.raises(InputError, match=f"the scheduler {words}"):
        resume(net(), loader(), config, loss=squared, scheduler=trainings[then], checkpoints=tmp_path)


def test_another_configuration_and_other_data_are_refused(tmp_path: Path) -> None:
    broken_off(tmp_path, TrainConfig(epochs=2))
    with pytest.raises(InputError, match=r"train\.clip_norm is 0\.5, and the run in .* began with 1\.0"):
        resume(net(), loader(), TrainConfig(epochs=2, clip_norm=0.5), loss=squared, checkpoints=tmp_path)
    with pytest.raises(InputError, match=r"8 batches, and that of the run in .* had 4"):
        resume(net(), ArrayStream(rows(128), 16), TrainConfig(epochs=2), loss=squared, checkpoints=tmp_path)


FULL = """
import resource, sys, torch
from torch import nn
from deepseek.errors import InputError
from deepseek.train import ArrayStream, TrainConfig, fit
data = ArrayStream((torch.randn(64, 3), torch.randn(64, 1)), 16)
net, count = nn.Linear(3, 1), 0
def loss(output, target):
    global count
    count += 1
    if count == 10:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    return nn.functional.mse_loss(output, target)
try:
    fit(net, data, TrainConfig(epochs=9, checkpoint_wait=True), loss=loss, checkpoints=sys.argv[1])
except InputError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_full_disk_is_said_and_the_last_good_checkpoint_stays(tmp_path: Path) -> None:
    """Files may grow to 2,000 bytes from the tenth step on, which is as a disk that is full. No step is taken while a
    checkpoint is written: the one of the eighth step is whole by then."""
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"no checkpoint can be written to {tmp_path}: File too large. Those that are there stay" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000004", "step-00000008"]
    assert verify_checkpoint(tmp_path / "step-00000008")["step"] == 8


def test_a_place_that_is_no_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match=r"no checkpoint can be written to .*run: File exists"):
        fit(net(), loader(), TrainConfig(), loss=squared, checkpoints=tmp_path / "run")


def test_a_half_written_checkpoint_is_removed_at_the_next_start(tmp_path: Path) -> None:
    (tmp_path / ".step-00000099.part").mkdir(parents=True)
    resume(net(), loader(), TrainConfig(epochs=1), loss=squared, checkpoints=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000004"]


def test_a_state_that_only_a_pickle_could_hold_is_named(tmp_path: Path) -> None:
    class Odd(torch.optim.SGD):
        def state_dict(self) -> dict[str, Any]:
            return {**super().state_dict(), "clock": time.localtime}

    with pytest.raises(InputError, match=r"state/optimizer/clock is a builtin_function_or_method"):
        fit(
            net(), loader(), TrainConfig(epochs=1), loss=squared, checkpoints=tmp_path,
            optimizer=lambda p: Odd(p, lr=0.1),
        )  # fmt: skip


def test_what_a_checkpoint_holds_comes_back_exactly(tmp_path: Path) -> None:
    shared = {
        "scalar": torch.tensor(3.5), "empty": torch.zeros(0, 2), "half": torch.randn(3).bfloat16(),
        "flags": torch.tensor([True]),
        "wide": {(1, "a"): [0.1, float("inf"), None, True], 3: np.float64(1 / 3), "array": np.arange(4)},
    }  # fmt: skip
    store = CheckpointManager(tmp_path, keep=1)
    store.begin()
    store.save(1, {}, shared, {"seed": (1, 2)})
    store.wait()
    newest = store.last_good()
    assert newest is not None
    back, own, is_same_rank = store.read(newest, lambda name: None)
    assert own == {"seed": (1, 2)}
    assert is_same_rank
    assert back["wide"][(1, "a")] == [0.1, float("inf"), None, True]
    assert back["wide"][3] == 1 / 3
    assert back["wide"]["array"].tolist() == [0, 1, 2, 3]
    for name in ("scalar", "empty", "half", "flags"):
        torch.testing.assert_close(back[name], shared[name], rtol=0, atol=0)


def test_no_step_is_taken_while_a_checkpoint_is_written_where_that_is_asked_for(tmp_path: Path) -> None:
    seen = []

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        seen.append(len(list(tmp_path.glob("step-*"))))
        return nn.functional.mse_loss(output, target)

    config = TrainConfig(epochs=2, checkpoint_every=1, checkpoint_wait=True, keep=9)
    fit(nn.Linear(4, 2), [(torch.ones(8, 4), torch.ones(8, 2))] * 4, config, loss=loss, checkpoints=tmp_path)
    assert seen == list(range(8))
