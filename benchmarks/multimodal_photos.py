"""A small residual net on CIFAR-10 as JPEG, trained by AdaptiveOptimizer: percent right, of one seed.

    python benchmarks/multimodal_photos.py [--only CLAIM]       # some two hours of one core

Two parts, chosen on the last 5,000 training rows (docs/log.md): passes at the rate that a low threshold finds, each
photo with a hole, then passes of whole photos at the smaller one of the usual threshold. Test rows are scored at the
end, each with its mirror image. A training that was interrupted goes on from its checkpoints; one that is finished is
kept in the cache by its recipe.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from photo_task import Moved, cache_folder, digest_of, logits_of, read_photos
from result import claim, finish, options
from torch import Tensor, nn
from torch.nn import functional

from deepseek.nn.resnet import ResNet, ResNetShape
from deepseek.optimizers import AdaptiveOptimizer
from deepseek.train import TrainConfig, resume


@dataclass(frozen=True)
class Photo:
    """What a part of the training may vary."""

    width: int = 64
    epochs: int = 48
    batch_size: int = 256
    smoothing: float = 0.1  # of the labels
    hole: int = 10  # pixels of a square that each photo loses: DeVries and Taylor 2017, section 3
    dynamic_threshold: float = 0.3
    trust_steps: float = 2_000.0
    seed: int = 0


CLAIMS = ("photos_right", "photos_hours")
LONG, LAST = Photo(), Photo(epochs=12, hole=0, dynamic_threshold=0.8, seed=1)
FIRST_RATE = {LONG: 1e-3, LAST: 3e-4}


class Holed(Moved):
    """Photos moved and mirrored by chance, each with a square of mean colour somewhere."""

    def __init__(self, photos: tuple[Tensor, Tensor], knobs: Photo) -> None:
        super().__init__(photos, knobs.batch_size, knobs.seed)
        self.hole = knobs.hole

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for rows, kinds in super().__iter__():
            centre = torch.randint(0, 32, (2, len(rows), 1), generator=self.generator)
            down, right = (torch.arange(32) - centre + self.hole // 2).unbind()  # (B, 32)
            inside = ((down >= 0) & (down < self.hole))[:, :, None] & ((right >= 0) & (right < self.hole))[:, None]
            yield rows.masked_fill(inside[:, None], 0.0), kinds


def halves(net: nn.Module, rows: Tensor) -> Tensor:
    """Logits (N, K) as the training computes them, in bfloat16 where it can."""
    with torch.autocast("cpu", torch.bfloat16):
        logits: Tensor = net(rows.contiguous(memory_format=torch.channels_last))
    return logits.float()


def right(logits: Tensor, kinds: Tensor) -> float:
    return 100 * float((logits.argmax(1) == kinds).float().mean())


def part_of(net: nn.Module, knobs: Photo, folder: Path) -> dict[str, float]:
    """Train by one part of the recipe, in place: "validation" in percent right, and "cpu_s", which is less than all
    where "interrupted" is 1."""
    facts, interrupted = folder / "facts.json", float(folder.is_dir() and any(folder.glob("step-*")))
    loss = functools.partial(functional.cross_entropy, label_smoothing=knobs.smoothing)
    photos, began_s = read_photos(), time.process_time()

    def validate(module: nn.Module) -> dict[str, float]:
        logits = logits_of(functools.partial(halves, module), photos.validation[0])
        share = right(logits, photos.validation[1])
        print(f"  {time.process_time() - began_s:.0f} s of CPU: {share:.2f} % of the validation rows", flush=True)
        return {"right": share, "loss": float(loss(logits, photos.validation[1]))}

    config = TrainConfig(
        epochs=knobs.epochs, schedule="cosine", precision="bf16", clip_norm=float("inf"), seed=knobs.seed,
        metric="right", goal="max", validate_every=4, checkpoint_every=175,
    )  # fmt: skip
    result = resume(
        net, Holed(photos.train, knobs), config, checkpoints=folder, loss=loss, validation=validate, progress=False,
        optimizer=lambda parameters: AdaptiveOptimizer(
            parameters, FIRST_RATE[knobs], dynamic_threshold=knobs.dynamic_threshold, trust_steps=knobs.trust_steps
        ),
    )  # fmt: skip
    if not facts.exists():
        part_facts = {
            "cpu_s": time.process_time() - began_s,
            "validation": result.validations[-1]["right"],
            "interrupted": interrupted,
        }
        facts.write_text(json.dumps(part_facts))
    known: dict[str, float] = json.loads(facts.read_text())
    return known


def photos_of() -> dict[str, float]:
    """Percent right of the test rows, and what the training took."""
    torch.set_num_threads(1)
    torch.manual_seed(LONG.seed)
    net = ResNet(ResNetShape(width=LONG.width)).to(memory_format=torch.channels_last)
    long = part_of(net, LONG, _folder(LONG))
    last = part_of(net, LAST, _folder(LONG) / f"then-{digest_of(asdict(LAST))}")
    predict = functools.partial(halves, net.eval())
    rows, kinds = read_photos().test
    plain, mirrored = logits_of(predict, rows), logits_of(predict, rows.flip(3))
    return {
        "right": right(plain.softmax(1) + mirrored.softmax(1), kinds), "right_unmirrored": right(plain, kinds),
        "validation_long": long["validation"], "validation": last["validation"], "cpu_s": long["cpu_s"] + last["cpu_s"],
        "interrupted": max(long["interrupted"], last["interrupted"]),
    }  # fmt: skip


def kept() -> dict[str, float]:
    """photos_of(), or what is known of it."""
    facts = _folder(LONG) / f"photos-{digest_of(asdict(LAST))}.json"
    if not facts.exists():
        facts.write_text(json.dumps(photos_of()))
    figures: dict[str, float] = json.loads(facts.read_text())
    return figures


def _folder(knobs: Photo) -> Path:
    return cache_folder() / f"multimodal-photos-{digest_of(asdict(knobs))}"


def main() -> int:
    arguments = options(__doc__, CLAIMS, quick="Leaves it out.").parse_args()
    if arguments.quick:
        return finish("multimodal_photos", [], not_run=CLAIMS)
    figures = kept()
    how = f"{LONG.epochs} and {LAST.epochs} passes over 45,000 rows, AdaptiveOptimizer; validation "
    how += f"{figures['validation_long']:.2f}, then {figures['validation']:.2f}"
    claims = [
        claim(
            "photos_right", ours=figures["right"], unit="percent right", op=">=", bar=92.0, num_seeds=1,
            note=f"each row with its mirror image, {figures['right_unmirrored']:.2f} without; {how}",
        ),
        claim(
            "photos_hours", ours=figures["cpu_s"] / 3_600, unit="hours of CPU", op="<=", bar=2.0, num_seeds=1,
            note="training and validation, one thread",
        ),
    ]  # fmt: skip
    if figures["interrupted"]:  # what the whole training took is not known
        claims.pop()
    claims = [each for each in claims if arguments.only in (None, each["claim"])]
    names = {each["claim"] for each in claims}
    return finish("multimodal_photos", claims, not_run=[name for name in CLAIMS if name not in names])


if __name__ == "__main__":
    sys.exit(main())
