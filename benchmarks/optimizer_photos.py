"""AdaptiveOptimizer with its default arguments on CIFAR-10 as JPEG: 92 % of the test photos in two hours of CPU.

    python benchmarks/optimizer_photos.py [--passes 44] [--quick] [--rival sgd|adamw | --set NAME=VALUE]

The net begins as arXiv 2404.00498 describes it (section 3): patches of 2 x 2 pixels are whitened by a layer that is not
trained, three blocks of two convolutions follow, whose filters begin as the identity, and the last layer's scores are
divided by 9. Photos are moved by up to PAD pixels and mirrored, one square of each is hidden. The optimizer is told the
length of the training and nothing else. Each fourth pass says how many of the 5,000 validation photos are right; the
test photos are scored once, at the end. CPU seconds are those of this process, reading and validation included. With
--rival the same net is trained with OneCycle by SGD or AdamW instead, with --set by other constants or arguments (as in
optimizer_development.py): up to the validation photos, and nothing is recorded.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from optimizer_development import change_constants, parse_change
from photo_task import Moved, accuracy, read_photos
from result import claim, finish, options
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from deepseek.optimizers import AdaptiveOptimizer
from deepseek.train.loop.optimizer import current_rate

NAME = "optimizer_photos"
CLAIMS = ("photos_right", "cpu_seconds")
MIN_ACCURACY, MAX_CPU_S = 0.92, 7_200.0
WIDTHS = (64, 256, 256)
PATCH, MIN_VARIANCE, NUM_WHITENED = 2, 5e-4, 5_000  # of patches; the least variance; photos that they are taken from
SCORE_SCALE = 1 / 9
BATCH_SIZE, SMOOTHING, HIDDEN = 250, 0.1, 8  # rows; of the labels; side of the hidden square in pixels
RIVAL_RATES = {"sgd": 0.2, "adamw": 3e-3}
PASSES, QUICK_PASSES, VALIDATE_EVERY = 44, 1, 4  # as many as the two hours hold


def whiten(photos: Tensor) -> nn.Conv2d:
    """A layer that is not trained: principal directions of patches of photos (N, 3, H, W), each way."""
    patches = functional.unfold(photos, PATCH).permute(0, 2, 1).reshape(-1, 3 * PATCH**2)  # (N patches, 12)
    variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (directions / (variances + MIN_VARIANCE).sqrt()).T.reshape(-1, 3, PATCH, PATCH)
    layer = nn.Conv2d(3, 2 * len(filters), PATCH, bias=False)
    layer.weight.data = torch.cat([filters, -filters])
    layer.weight.requires_grad_(False)
    return layer


def convolution(num_in: int, num_out: int) -> nn.Conv2d:
    layer = nn.Conv2d(num_in, num_out, 3, padding=1, bias=False)
    nn.init.dirac_(layer.weight.data[:num_in])
    return layer


def block(num_in: int, num_out: int) -> nn.Sequential:
    return nn.Sequential(
        convolution(num_in, num_out), nn.MaxPool2d(2), nn.BatchNorm2d(num_out), nn.GELU(),
        convolution(num_out, num_out), nn.BatchNorm2d(num_out), nn.GELU(),
    )  # fmt: skip


class PhotoNet(nn.Module):
    """Photos (N, 3, 32, 32) -> scores (N, 10)."""

    def __init__(self, photos: Tensor) -> None:
        super().__init__()
        first = whiten(photos)
        widths = (first.out_channels, *WIDTHS)
        blocks = [block(before, after) for before, after in pairwise(widths)]
        self.features = nn.Sequential(first, nn.GELU(), *blocks, nn.MaxPool2d(3), nn.Flatten())
        self.head = nn.Linear(WIDTHS[-1], 10, bias=False)

    def forward(self, photos: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            scores: Tensor = self.head(self.features(photos.contiguous(memory_format=torch.channels_last)))
        return scores.float() * SCORE_SCALE


def hide_squares(photos: Tensor, generator: torch.Generator) -> Tensor:
    """Photos (N, 3, 32, 32), a square of HIDDEN pixels of each set to 0."""
    corners = torch.randint(0, 32 - HIDDEN + 1, (2, len(photos), 1), generator=generator)
    along = torch.arange(32)
    inside = (along >= corners) & (along < corners + HIDDEN)  # (2, N, 32)
    return photos.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[:, None], 0.0)


@dataclass(frozen=True)
class Training:
    """What a training came to: shares of photos that are right, and its CPU seconds."""

    validation: float
    test: float
    test_mirrored: float  # each photo scored with its mirror image
    cpu_s: float


def use_rival(name: str, parameters: list[nn.Parameter], num_steps: int) -> tuple[torch.optim.Optimizer, LRScheduler]:
    """Nesterov's momentum or AdamW, whose rate rises over a fifth of the steps and falls to 0."""
    rate = RIVAL_RATES[name]
    optimizer: torch.optim.Optimizer
    if name == "sgd":
        optimizer = torch.optim.SGD(parameters, lr=rate, momentum=0.9, nesterov=True, weight_decay=5e-4)
    else:
        optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.99), weight_decay=0.05)
    return optimizer, OneCycleLR(optimizer, rate, num_steps, pct_start=0.2, cycle_momentum=False)


def train(
    num_passes: int, seed: int, *, rival: str | None = None, arguments: Mapping[str, Any] | None = None
) -> Training:
    """`rival`: by that one. `arguments`: others of ours, {} for none. With either no test photo is scored."""
    began_s = time.process_time()
    torch.manual_seed(seed)
    photos = read_photos()
    net = PhotoNet(photos.validation[0][:NUM_WHITENED]).to(memory_format=torch.channels_last)
    batches = Moved(photos.train, BATCH_SIZE, seed)
    generator = torch.Generator().manual_seed(seed)
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    num_steps = num_passes * len(batches)
    optimizer, scheduler = (
        use_rival(rival, trained, num_steps)
        if rival
        else (AdaptiveOptimizer(trained, total_steps=num_steps, **(arguments or {})), None)
    )
    for each in range(1, num_passes + 1):
        for rows, kinds in batches:
            loss = functional.cross_entropy(net(hide_squares(rows, generator)), kinds, label_smoothing=SMOOTHING)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if scheduler is not None:
                scheduler.step()
        if each % VALIDATE_EVERY == 0 or each == num_passes:
            net.eval()
            share, cpu_s = accuracy(net, photos.validation), time.process_time() - began_s
            net.train()
            rate = current_rate(optimizer)
            print(
                f"  pass {each}: {cpu_s:.0f} s of CPU, {share:.4f} of the validation photos, rate {rate:.2g}",
                flush=True,
            )
    net.eval()
    if rival or arguments is not None:
        return Training(accuracy(net, photos.validation), math.nan, math.nan, time.process_time() - began_s)
    both = accuracy(lambda rows: net(rows) + net(rows.flip(-1)), photos.test)
    alone = accuracy(net, photos.test)
    return Training(accuracy(net, photos.validation), alone, both, time.process_time() - began_s)


def judge(training: Training) -> list[dict[str, Any]]:
    note = f"each with its mirror image {training.test_mirrored:.4f}; validation {training.validation:.4f}"
    return [
        claim(CLAIMS[0], ours=training.test, unit="share", op=">=", bar=MIN_ACCURACY, note=note),
        claim(CLAIMS[1], ours=training.cpu_s, unit="CPU s", op="<=", bar=MAX_CPU_S),
    ]


def main() -> int:
    parser = options(__doc__, CLAIMS, quick=f"{QUICK_PASSES} passes")
    parser.add_argument("--passes", type=int, default=PASSES, help="of the training photos")
    others = parser.add_mutually_exclusive_group()
    others.add_argument("--rival", choices=RIVAL_RATES, help="train by this one, and record nothing")
    others.add_argument("--set", nargs="+", type=parse_change, metavar="NAME=VALUE", help="and record nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num_passes = QUICK_PASSES if args.quick else args.passes
    if args.rival or args.set:
        arguments = change_constants(dict(args.set or ()))
        print(f"{train(num_passes, 0, rival=args.rival, arguments=arguments).validation:.4f} of the validation photos")
        return 0
    return finish(NAME, judge(train(num_passes, seed=0)), not_run=[])


if __name__ == "__main__":
    sys.exit(main())
