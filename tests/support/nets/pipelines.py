"""Models to cut and what each process does with them: real gloo processes for the tests of the pipeline."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from deepseek.errors import DeepseekError
from deepseek.optimizers import AdaptiveOptimizer
from deepseek.train.pipeline import SCHEDULES, Pipe, parallelize
from support.servers.ranks import start

ROWS, WORDS, WIDTH = 16, 5, 6


class Residual(nn.Module):
    """The rows that it gives are turned, so its gradients do not lie dense."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.line = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:  # x (B, T, D)
        return x + torch.tanh(self.line(self.norm(x).transpose(0, 1))).transpose(0, 1)


class Pool(nn.Module):
    """The mean over words, whose gradient is an expanded one."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


class Words(nn.Module):
    """Words to a number: an embedding of integers, six blocks, a mean, a line."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed = nn.Embedding(11, WIDTH)
        self.layers = nn.ModuleList(Residual(WIDTH) for _ in range(6))
        self.head = nn.Sequential(Pool(), nn.Linear(WIDTH, 2))

    def forward(self, words: Tensor) -> Tensor:
        x = self.embed(words)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


BLOCKS = ("embed", "layers", "head")


def words_batch(num_rows: int = ROWS) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 11, (num_rows, WORDS), generator=generator), torch.randn(num_rows, 2, generator=generator)


def lines_batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(ROWS, 3, generator=generator), torch.randn(ROWS, 3, generator=generator)


class Pair(nn.Module):
    """Gives a tuple: a value and one that needs no gradient."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, (x.detach() > 0).float()


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(3, 3)

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        return self.line(pair[0]) * (1 + pair[1])


class Offset(nn.Module):
    """Gives a second value that depends on its own parameter alone."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, torch.tanh(self.offset).expand_as(x)


class Add(nn.Module):
    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        return pair[0] + pair[1]


def offset() -> nn.Sequential:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(3, 3), Offset(), Add(), nn.Linear(3, 3))


def odd(*, frozen: bool = False) -> nn.Sequential:
    """A tuple between blocks, a block that writes into its input, blocks without parameters, views. Frozen: all but the
    last line, so that of four stages the first has nothing to train."""
    torch.manual_seed(3)
    lines = [nn.Linear(3, 3), Pair(), Masked(), nn.ReLU(inplace=True)]
    model = nn.Sequential(*lines, nn.Linear(3, 3), nn.Unflatten(1, (3, 1)), nn.Flatten())
    for line in lines:
        line.requires_grad_(not frozen)
    return model


def tied() -> nn.Sequential:
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(4)))
    model[3].weight = model[0].weight
    return model


class Skips(Words):
    """Does something between its blocks."""

    def forward(self, words: Tensor) -> Tensor:
        return super().forward(words) * 2


def compared(pipe: Pipe, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """The pipe's two steps against one process: the largest difference, as a share of the largest gradient."""
    whole = mse_loss(model(batch[0]), batch[1])
    whole.backward()
    want = dict(model.named_parameters())
    losses = [pipe.step(*batch), pipe.evaluate(*batch), pipe.step(*batch)]
    apart = [0.0]
    for name, parameter in pipe.named_parameters():
        expected = want[name].grad
        assert (expected is None) == (parameter.grad is None), name
        if expected is not None:  # two steps are added up
            apart.append(float((parameter.grad / 2 - expected).abs().max() / expected.abs().max()))
    return {
        "apart": max(apart), "losses": [None if loss is None else float(loss) for loss in losses], "want": float(whole),
        "last": pipe.has_last, "stages": pipe.plan.stages, "num_parameters": len(list(pipe.parameters())),
    }  # fmt: skip


def schedules() -> dict[str, Any]:
    by_name = {}
    for name in SCHEDULES:
        num = dist.get_world_size() * (1 if name in ("1f1b", "gpipe") else 2)
        pipe = parallelize(
            Words(), stages=num, schedule=name, micro_batches=8, example=words_batch(), loss=mse_loss, blocks=BLOCKS
        )
        by_name[name] = compared(pipe, Words(), words_batch())
    return by_name


def odd_models() -> dict[str, Any]:
    by_name = {}
    options: dict[str, Any] = {"micro_batches": 4, "example": lines_batch(), "loss": mse_loss}
    for schedule, stages in (("1f1b", 2), ("zero_bubble", 4), ("dualpipe_v", 4)):
        pipe = parallelize(odd(), stages=stages, schedule=schedule, **options)
        by_name[schedule] = compared(pipe, odd(), lines_batch())
    frozen = parallelize(odd(frozen=True), stages=4, **options)
    by_name["frozen"] = compared(frozen, odd(frozen=True), lines_batch())
    shifted = parallelize(offset(), stages=4, **options)
    by_name["offset"] = compared(shifted, offset(), lines_batch())
    by_name["offset chosen"] = shifted.plan.schedule
    by_name["chosen"] = frozen.plan.schedule
    by_name["refused"] = said(lambda: parallelize(odd(frozen=True), stages=4, schedule="zero_bubble", **options))
    return by_name


def trained(model: Any, parameters: Any, step: Callable[[], Any], clip: Callable[[], Any]) -> list[float]:
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    norms = []
    for _ in range(3):
        optimizer.zero_grad()
        step()
        norms.append(float(clip()))
        optimizer.step()
    return norms


def states() -> dict[str, Any]:
    """One process's weights into two stages, three clipped steps, back into one model, and into four stages."""
    batch = words_batch()
    options: dict[str, Any] = {"micro_batches": 4, "example": batch, "loss": mse_loss, "blocks": BLOCKS}
    one = Words()
    pipe = parallelize(Words(seed=7), stages=2, **options)
    pipe.load_state_dict(one.state_dict())

    def step() -> None:
        mse_loss(one(batch[0]), batch[1]).backward()

    want = trained(one, one.parameters(), step, lambda: nn.utils.clip_grad_norm_(one.parameters(), 0.05))
    got = trained(pipe, pipe.parameters(), lambda: pipe.step(*batch), lambda: pipe.clip_grad_norm_(0.05))
    whole = pipe.whole_state_dict()
    facts: dict[str, Any] = {"want": want, "got": got, "keys": list(whole), "model_keys": list(one.state_dict())}
    if whole:
        facts["apart"] = max(float((whole[key] - value).abs().max()) for key, value in one.state_dict().items())
        other = Words(seed=8)
        other.load_state_dict(whole)
    four = parallelize(Words(seed=9), stages=4, schedule="zero_bubble_v", **options)
    four.load_state_dict(one.state_dict())
    again = four.whole_state_dict()
    facts["equal"] = all(torch.equal(again[key], value) for key, value in one.state_dict().items()) if again else None
    facts["part"] = list(pipe.state_dict())
    facts["choice"] = [pipe.plan.schedule, pipe.plan.why]
    shapes = {**one.state_dict(), "head.1.bias": torch.zeros(3), "embed.weight": torch.zeros(3)}
    facts["refused"] = [
        said(lambda: pipe.load_state_dict({**one.state_dict(), "tail.weight": torch.zeros(1)})),
        said(lambda: pipe.load_state_dict({})),
        said(lambda: pipe.load_state_dict(shapes)),
        said(lambda: pipe.step(*words_batch(8))),
        said(lambda: pipe.step(None, None)),
        said(lambda: torch.no_grad()(pipe.step)(*batch)),
        said(lambda: pipe.step(None, 3)),
    ]
    return facts


def frozen_words() -> nn.Module:
    """Only the last line learns: the first stage has parameters, and none that moves."""
    model = Words().requires_grad_(False)
    model.head.requires_grad_(True)
    return model


def adaptive() -> dict[str, Any]:
    """AdaptiveOptimizer in two stages, whose sums are added, and in one process: the rates that were found. How far
    trust lets its own tensors go, each stage knows alone."""
    facts: dict[str, Any] = {}
    torch.set_default_dtype(torch.float64)
    inputs, targets = words_batch()
    for name, make in (("words", Words), ("frozen", frozen_words)):
        one = make()
        pipe = parallelize(
            make(), stages=2, micro_batches=4, example=(inputs, targets), loss=mse_loss, blocks=BLOCKS, schedule="1f1b"
        )
        alone, ours = AdaptiveOptimizer(one.parameters()), AdaptiveOptimizer(pipe.parameters(), group=pipe.group)
        rates: list[list[float]] = [[], []]
        for _ in range(40):
            alone.zero_grad()
            ours.zero_grad()
            mse_loss(one(inputs), targets).backward()
            pipe.step(inputs, targets)
            for optimizer, seen in zip((alone, ours), rates, strict=True):
                optimizer.step()
                head = optimizer.param_groups[0]
                seen.append(head["lr"] * math.exp(float(head["control"][0])))
        facts[name] = rates
    torch.set_default_dtype(torch.float32)
    return facts


def said(call: Callable[[], Any]) -> str:
    try:
        call()
    except DeepseekError as error:
        return str(error)
    return "nothing"


def refusals() -> dict[str, str]:
    """What each bad call is answered."""
    base: dict[str, Any] = {
        "stages": 2,
        "micro_batches": 4,
        "example": words_batch(),
        "loss": mse_loss,
        "blocks": BLOCKS,
    }
    line = {"example": lines_batch(), "blocks": ()}

    def total(output: Tensor, targets: Tensor) -> Tensor:
        return ((output - targets) ** 2).sum()

    cases: dict[str, tuple[nn.Module, dict[str, Any]]] = {
        "stages over blocks": (Words(), {"stages": 12}),
        "stages over processes": (Words(), {"stages": 3}),
        "schedule": (Words(), {"schedule": "dual_pipe"}),
        "schedule and stages": (Words(), {"schedule": "1f1b", "stages": 4}),
        "too few micro-batches": (Words(), {"schedule": "dualpipe_v", "stages": 4, "micro_batches": 2}),
        "micro-batches": (Words(), {"micro_batches": 3}),
        "no order": (Words(), {"blocks": ()}),
        "no such block": (Words(), {"blocks": ("embedding",)}),
        "left out": (Words(), {"blocks": ("embed", "layers")}),
        "wrong order": (Words(), {"blocks": ("layers", "embed", "head")}),
        "between": (Skips(), {}),
        "sum": (Words(), {"loss": total}),
        "failing loss": (
            Words(),
            {"loss": nn.functional.cross_entropy, "example": (words_batch()[0], torch.full((ROWS,), 7))},
        ),
        "loss of no tensor": (Words(), {"loss": lambda output, targets: 1.0}),
        "tied": (tied(), line),
        "example": (Words(), {"example": words_batch()[0]}),
    }
    return {name: said(partial(parallelize, model, **{**base, **more})) for name, (model, more) in cases.items()}


def _enter(rank: int, world: int, folder: str, names: tuple[str, ...]) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", world), rank=rank, world_size=world)
    by_name = {name: globals()[name]() for name in names}
    Path(folder, f"{rank}.json").write_text(json.dumps(by_name))
    dist.destroy_process_group()


def run(world: int, folder: Path, *names: str) -> list[dict[str, Any]]:
    """Run the functions of these names in `world` processes; what each process found."""
    start(_enter, (world, str(folder), names), world)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world)]
