"""Development tasks of AdaptiveOptimizer: what its constants are chosen on. Run by optimizer_development.py.

Twenty small trainings of 200 to 20,000 steps: language, images, tables and sequences, batches of 4 to 4,096. None
shares data with the tasks of optimizers.py, optimizer_tasks.py or optimizers_long.py. A score is a loss on held-out
data at the end of the budget. A training takes 1 to 60 CPU seconds.
"""

from __future__ import annotations

import argparse
import email.message
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from optimizer_tasks import Batch, Layer, Problem, Residual, public, supervised
from torch import Generator, Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class DevelopmentTask:
    """A training of `budget` steps. `make` is called after torch.manual_seed."""

    name: str
    kind: str  # language, image, table or sequence
    make: Callable[[], Problem]
    budget: int


# Language -----------------------------------------------------------------------------------------------------------


def as_characters(text: str, num_kinds: int) -> Tensor:
    """Numbers of the characters of a text (n,); 0 stands for all but the most frequent `num_kinds` - 1."""
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    kinds, numbers, counts = np.unique(codes, return_inverse=True, return_counts=True)
    frequent = np.argsort(-counts)[: num_kinds - 1]
    renumbered = np.zeros(len(kinds), np.int64)
    renumbered[frequent] = np.arange(1, len(frequent) + 1)
    return torch.from_numpy(renumbered[numbers])


@cache
def terms_of_service() -> Tensor:
    rows = pq.read_table(public("unfair-tos/unfair_tos.parquet"))
    return as_characters("\n".join(rows["text"].to_pylist()), 48)


@cache
def privacy_policies() -> Tensor:
    rows = pq.read_table(public("opp115/segments.parquet"))
    return as_characters("\n".join(rows["text"].to_pylist()), 80)


@cache
def chinese_law() -> Tensor:
    return as_characters("\n".join(pq.read_table(public("zh-law/zh_law_articles.parquet"))["text"].to_pylist()), 256)


@cache
def python_source() -> Tensor:
    """Three modules that come with Python."""
    modules = (argparse, email.message, zipfile)
    return as_characters("\n".join(Path(str(module.__file__)).read_text() for module in modules), 80)


class Transformer(nn.Module):
    """Character numbers (N, length) -> what comes next (N, length, kinds)."""

    def __init__(self, num_kinds: int, length: int, width: int, num_layers: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(num_kinds, width)
        self.places = nn.Parameter(0.02 * torch.randn(length, width))
        self.layers = nn.Sequential(*(Layer(width, 4) for _ in range(num_layers)))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, num_kinds))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.leave(self.layers(self.embed(x) + self.places))
        return out


class RecurrentCharacters(nn.Module):
    """The same by gated recurrent units."""

    def __init__(self, num_kinds: int, width: int) -> None:
        super().__init__()
        self.embed, self.cells = nn.Embedding(num_kinds, width), nn.GRU(width, width, batch_first=True)
        self.leave = nn.Linear(width, num_kinds)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.leave(self.cells(self.embed(x))[0])
        return out


class WindowCharacters(nn.Module):
    """Eight characters (N, 8) -> the ninth (N, 1, kinds), by one hidden layer."""

    def __init__(self, num_kinds: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(num_kinds, 12)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(96, 96), nn.Tanh(), nn.Linear(96, num_kinds))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(self.embed(x))[:, None]
        return out


def next_character(text: Tensor, model: nn.Module, length: int, batch_size: int) -> Problem:
    """The last tenth of a text is held out."""
    cut = len(text) * 9 // 10
    num_test = min(6_400 // length, (len(text) - cut) // (length + 1))
    test = text[cut : cut + num_test * (length + 1)].view(num_test, length + 1)

    def draw(generator: Generator) -> Batch:
        starts = torch.randint(cut - length - 1, (batch_size, 1), generator=generator)
        return (text[starts + torch.arange(length + 1)],)

    def loss(batch: Batch) -> Tensor:
        logits = model(batch[0][:, :-1])
        return functional.cross_entropy(logits.flatten(0, 1), batch[0][:, -logits.shape[1] :].flatten())

    return Problem(model, draw, loss, lambda: float(loss((test,))))


def terms_transformer(batch_size: int) -> Problem:
    return next_character(terms_of_service(), Transformer(48, 16, 32, 2), 16, batch_size)


def policies_transformer() -> Problem:
    """The larger one: 64 wide. A minute of CPU time."""
    return next_character(privacy_policies(), Transformer(80, 32, 64, 2), 32, 12)


def source_transformer() -> Problem:
    return next_character(python_source(), Transformer(80, 32, 48, 2), 32, 8)


def law_recurrent() -> Problem:
    return next_character(chinese_law(), RecurrentCharacters(256, 48), 20, 16)


def terms_window() -> Problem:
    return next_character(terms_of_service(), WindowCharacters(48), 8, 64)


# Images -------------------------------------------------------------------------------------------------------------


@cache
def digit_images() -> tuple[Batch, Batch]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=Generator().manual_seed(3))
    images = torch.from_numpy(digits.images).float()[order, None] / 8 - 1
    kinds = torch.from_numpy(digits.target).long()[order]
    return (images[:1200], kinds[:1200]), (images[1200:], kinds[1200:])


def digits_convolution(batch_size: int) -> Problem:
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, 1, 1), nn.ReLU(), nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(384, 10),
    )  # fmt: skip
    train, test = digit_images()

    def moved(batch: Batch, generator: Generator) -> Batch:
        """By up to a pixel in each direction: without that the 1,200 digits are known by heart soon."""
        down, right = torch.randint(-1, 2, (2,), generator=generator).tolist()
        return batch[0].roll((down, right), (2, 3)) + 0.3 * torch.randn(batch[0].shape, generator=generator), batch[1]

    problem = supervised(model, train, test, functional.cross_entropy, batch_size)
    return Problem(model, lambda generator: moved(problem.draw(generator), generator), problem.loss, problem.score)


def few_digits() -> Problem:
    """A hundred digits, all in each batch, and too many weights: soon known by heart."""
    (images, kinds), test = digit_images()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Dropout(0.5), nn.Linear(96, 10))
    problem = supervised(model, (images[:100], kinds[:100]), test, functional.cross_entropy, 100)
    return Problem(model, lambda _: (images[:100], kinds[:100]), problem.loss, problem.score)


@cache
def steel_images() -> tuple[Batch, Batch]:
    """Crops (N, 1, 24, 24) of photos of six defects of steel; those whose number ends in 0 or 5 are held out."""
    from PIL import Image

    names = ("crazing", "inclusion", "patches", "pitted_surface", "rolled-in_scale", "scratches")
    parts: dict[bool, tuple[list[Tensor], list[int]]] = {True: ([], []), False: ([], [])}
    with zipfile.ZipFile(public("neu-det/images.zip")) as archive:
        for name in sorted(archive.namelist()):
            kind, _, number = name.rpartition("/")[2].removesuffix(".jpg").rpartition("_")
            if kind not in names:
                continue
            image = Image.open(io.BytesIO(archive.read(name))).convert("L").resize((96, 96))
            pixels = torch.from_numpy(np.asarray(image).copy()).float() / 64 - 2
            crops = pixels.unfold(0, 24, 24).unfold(1, 24, 24).reshape(16, 1, 24, 24)[::2]
            images, kinds = parts[int(number) % 5 == 0]
            images.append(crops)
            kinds += [names.index(kind)] * len(crops)
    train, test = ((torch.cat(images), torch.tensor(kinds)) for images, kinds in (parts[False], parts[True]))
    return train, test


def steel_residual() -> Problem:
    train, test = steel_images()
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), Residual(8, 12, 2), Residual(12, 24, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(24, 6),
    )  # fmt: skip
    return supervised(model, train, test, functional.cross_entropy, 32)


# Tables -------------------------------------------------------------------------------------------------------------


def table_rows(count: int, generator: Generator) -> Batch:
    """(count, 12) columns, some heavy-tailed, and a noisy number (count,) after Friedman's first function."""
    x = torch.rand(count, 12, generator=generator)
    y = 10 * torch.sin(torch.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5).square() + 10 * x[:, 3] + 5 * x[:, 4]
    y = y + 4 * (x[:, 5] > 0.7) * x[:, 6] + torch.randn(count, generator=generator)
    x = torch.cat([x[:, :8] * 3.5 - 1.75, (-x[:, 8:].clamp_min(1e-4).log())], 1)
    return x, (y - 15) / 5


def table_regression(batch_size: int) -> Problem:
    """As many rows as are asked for: nothing to be known by heart."""
    model = nn.Sequential(
        nn.Linear(12, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1), nn.Flatten(0)
    )  # fmt: skip
    test = table_rows(4000, Generator().manual_seed(11))
    return Problem(
        model, lambda generator: table_rows(batch_size, generator),
        lambda batch: functional.mse_loss(model(batch[0]), batch[1]),
        lambda: float(functional.mse_loss(model(test[0]), test[1])),
    )  # fmt: skip


@cache
def bearing_rows() -> tuple[Batch, Batch]:
    """Features of vibrations (N, 20), and whether the bearing is in the last third of its life. One of three hours is
    held out."""
    table = pq.read_table(public("femto-bearing/learning_features.parquet"))
    names = [name for name in table.schema.names if name.startswith(("h_", "v_"))]
    inputs = torch.from_numpy(np.stack([table[name].to_numpy() for name in names], 1)).float()
    inputs = inputs.clamp_min(1e-6).log() if bool((inputs > 0).all()) else inputs.sign() * inputs.abs().log1p()
    inputs = (inputs - inputs.mean(0)) / inputs.std(0).clamp_min(1e-3)
    bearings, numbers = table["bearing"].to_numpy(), table["snapshot"].to_numpy()
    last = {name: numbers[bearings == name].max() for name in np.unique(bearings)}
    late = torch.tensor([float(at > 2 / 3 * last[name]) for name, at in zip(bearings, numbers, strict=True)])
    is_test = torch.from_numpy(numbers // 20 % 3 == 0)
    return (inputs[~is_test], late[~is_test]), (inputs[is_test], late[is_test])


def bearing_classifier() -> Problem:
    train, test = bearing_rows()
    model = nn.Sequential(
        nn.Linear(train[0].shape[1], 64), nn.LayerNorm(64), nn.SiLU(), nn.Dropout(0.2), nn.Linear(64, 64), nn.SiLU(),
        nn.Linear(64, 1), nn.Flatten(0),
    )  # fmt: skip
    return supervised(model, train, test, functional.binary_cross_entropy_with_logits, 128)


# Sequences ----------------------------------------------------------------------------------------------------------


def noisy_waves(count: int, generator: Generator) -> Batch:
    """Two waves of random frequency with noise (count, 24, 1), and where they go next (count,)."""
    time = torch.arange(28.0)
    frequency = 0.1 + 0.7 * torch.rand(count, 2, 1, generator=generator)
    phase = 2 * torch.pi * torch.rand(count, 2, 1, generator=generator)
    waves = torch.sin(frequency * time + phase).sum(1)
    noise = 0.15 * torch.randn(count, 24, generator=generator)
    return (waves[:, :24] + noise)[:, :, None], waves[:, 27]


class ResidualConvolutions(nn.Module):
    """(N, bands, frames) -> (N, 10): residual convolutions along the frames, without norms."""

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv1d(bands, width, 1)
        self.layers = nn.ModuleList(nn.Conv1d(width, width, 3, padding=1) for _ in range(4))
        self.leave = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for layer in self.layers:
            x = x + functional.gelu(layer(x))
        out: Tensor = self.leave(x.mean(2))
        return out


def digits_by_heart() -> Problem:
    """The 1,200 digits, a row of pixels as a frame: known by heart after some hundred steps, and then trained on."""
    (images, kinds), (test_images, test_kinds) = digit_images()
    model = ResidualConvolutions(8, 32)
    return supervised(model, (images[:, 0], kinds), (test_images[:, 0], test_kinds), functional.cross_entropy, 16)


def melodies(count: int, generator: Generator) -> Batch:
    """Ten melodies of six notes in noise (count, 16 bands, 24 frames), each begun at another frame, and which (count,).
    A melody goes up or down a scale of its own at one of five paces."""
    kinds = torch.randint(10, (count,), generator=generator)
    note = torch.arange(6.0)[None] * (1 + kinds[:, None] % 5) * (1 - 2 * (kinds[:, None] // 5)) % 16
    starts = torch.randint(6, (count,), generator=generator)
    sounds = 0.7 * torch.randn(count, 16, 24, generator=generator)
    frames = starts[:, None] + 3 * torch.arange(6)
    sounds[torch.arange(count)[:, None], note.long(), frames] += 3.0
    return sounds, kinds


def melodies_by_heart() -> Problem:
    """A thousand sounds that can be told apart without an error."""
    train, test = melodies(1000, Generator().manual_seed(15)), melodies(1000, Generator().manual_seed(16))
    return supervised(ResidualConvolutions(16, 32), train, test, functional.cross_entropy, 16)


class RecurrentForecast(nn.Module):
    """(N, steps, 1) -> (N,)."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.leave = nn.LSTM(1, 32, batch_first=True), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.leave(self.cells(x)[0][:, -1]).squeeze(1)
        return out


def waves_recurrent(batch_size: int) -> Problem:
    model, test = RecurrentForecast(), noisy_waves(2000, Generator().manual_seed(12))
    return Problem(
        model, lambda generator: noisy_waves(batch_size, generator),
        lambda batch: functional.mse_loss(model(batch[0]), batch[1]),
        lambda: float(functional.mse_loss(model(test[0]), test[1])),
    )  # fmt: skip


def waves_convolution() -> Problem:
    model = nn.Sequential(
        nn.Conv1d(1, 16, 5), nn.GELU(), nn.Conv1d(16, 24, 5, 2), nn.GELU(), nn.Conv1d(24, 32, 5), nn.GELU(),
        nn.Flatten(), nn.Linear(128, 1), nn.Flatten(0),
    )  # fmt: skip
    test = noisy_waves(2000, Generator().manual_seed(13))
    return Problem(
        model, lambda generator: tuple(noisy_waves(8, generator)),
        lambda batch: functional.mse_loss(model(batch[0].transpose(1, 2)), batch[1]),
        lambda: float(functional.mse_loss(model(test[0].transpose(1, 2)), test[1])),
    )  # fmt: skip


DEVELOPMENT = (
    DevelopmentTask("terms_b16", "language", partial(terms_transformer, 16), 2_000),
    DevelopmentTask("terms_b4", "language", partial(terms_transformer, 4), 3_000),
    DevelopmentTask("policies_b12", "language", policies_transformer, 2_500),
    DevelopmentTask("source_b8", "language", source_transformer, 2_000),
    DevelopmentTask("law_recurrent_b16", "language", law_recurrent, 1_000),
    DevelopmentTask("terms_window_b64", "language", terms_window, 20_000),
    DevelopmentTask("digits_b32", "image", partial(digits_convolution, 32), 2_000),
    DevelopmentTask("digits_b8", "image", partial(digits_convolution, 8), 3_000),
    DevelopmentTask("digits_b1024", "image", partial(digits_convolution, 1024), 200),
    DevelopmentTask("digits_few", "image", few_digits, 300),
    DevelopmentTask("steel_b32", "image", steel_residual, 800),
    DevelopmentTask("table_b4", "table", partial(table_regression, 4), 6_000),
    DevelopmentTask("table_b256", "table", partial(table_regression, 256), 4_000),
    DevelopmentTask("table_b4096", "table", partial(table_regression, 4096), 600),
    DevelopmentTask("bearing_b128", "table", bearing_classifier, 2_000),
    DevelopmentTask("waves_recurrent_b32", "sequence", partial(waves_recurrent, 32), 3_000),
    DevelopmentTask("waves_recurrent_b4", "sequence", partial(waves_recurrent, 4), 4_000),
    DevelopmentTask("waves_convolution_b8", "sequence", waves_convolution, 3_000),
    DevelopmentTask("digits_by_heart_b16", "sequence", digits_by_heart, 3_000),
    DevelopmentTask("melodies_by_heart_b16", "sequence", melodies_by_heart, 3_000),
)
