"""An encoder that learns the lines of a checklist: fine-tuned several times, each without a part of the documents.

    tuned = tune_encoders(Path("all-MiniLM"), groups, targets, TuneOptions(), scratch)
    tuned.view.scores(texts)                 # (N, K): the mean of the encoders' log-odds
    tuned.held                               # of each document by the encoder that has not seen it

The log-odds of a line are a linear function of the mean of a passage's tokens, brought to length 1; the loss is that of
one logistic regression for each line. Tokens are those of engines/text, so that what was learned is what is run.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.citations.retrieval.embedder import FolderEmbedder
from deepseek.citations.review.views import fold_numbers
from deepseek.contracts import Float32, Float64
from deepseek.engines.text import TextModel
from deepseek.extras import need

LOG_ODDS_SCALE = 10.0  # of a vector of length 1
HEAD_RATE = 10.0  # times the rate of the encoder: the head starts from nothing
POOL_BATCHES = 20  # that are sorted by length together
WARM_UP = 0.1  # of the steps
MIN_SHARE, MAX_SHARE = 1e-3, 0.9  # of passages that speak of a line, where its bias starts
WEIGHTS_FILE = "model.safetensors"
KEPT_SUFFIXES = frozenset({".json", ".txt"})
Progress = Callable[[str, float], object]


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """How an encoder learns."""

    num_encoders: int = 3  # each learns without another part of the documents
    epochs: int = 4
    learning_rate: float = 1.5e-4  # peak, of AdamW
    batch_size: int = 32
    max_tokens: int = 128  # of a passage
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TunedView:
    """Encoders that have learned the lines."""

    encoders: tuple[FolderEmbedder, ...]
    folders: tuple[Path, ...]  # where they lie
    weights: Float32  # (E, K, D)
    bias: Float32  # (E, K)

    def scores(self, texts: Sequence[str]) -> Float64:
        """Log-odds (N, K): the mean of all encoders."""
        parts = [self.scores_of(number, texts) for number in range(len(self.encoders))]
        return np.asarray(np.mean(parts, axis=0), np.float64)

    def scores_of(self, number: int, texts: Sequence[str]) -> Float64:
        """Log-odds (N, K) by one of the encoders."""
        vectors = LOG_ODDS_SCALE * self.encoders[number].passages(texts)
        return np.asarray(vectors @ self.weights[number].T + self.bias[number], np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class TunedEncoders:
    """What tuning leaves."""

    view: TunedView
    held: list[Float64]  # (N, K) of each document by the encoder that has not seen it


def tune_encoders(
    folder: Path,
    groups: Sequence[Sequence[str]],
    targets: Sequence[NDArray[np.int64]],
    options: TuneOptions,
    scratch: Path,
    progress: Progress,
) -> TunedEncoders:
    """Tune the encoder in `folder` on the passages (N texts) and targets (N, K) of each document; the new folders are
    written into `scratch`, which is there. ExtraError without torch and transformers."""
    fold = fold_numbers(len(groups), options.num_encoders)
    ids = [_token_ids(folder, group, options.max_tokens) for group in groups]
    folders, encoders, weights, bias = [], [], [], []
    for number in range(options.num_encoders):
        progress(f"tuning encoder {number + 1} of {options.num_encoders}", number / options.num_encoders)
        training = np.flatnonzero(fold != number).tolist()
        rows = [row for index in training for row in ids[index]]
        truth = np.concatenate([targets[index] for index in training])
        net, head = _learn(folder, rows, truth, options)
        folders.append(_write_folder(folder, net, scratch / f"encoder-{number}"))
        encoders.append(FolderEmbedder(folders[-1]))
        weights.append(head.weight.detach().numpy().copy())
        bias.append(head.bias.detach().numpy().copy())
    view = TunedView(tuple(encoders), tuple(folders), np.stack(weights), np.stack(bias))
    held = [view.scores_of(int(fold[index]), group) for index, group in enumerate(groups)]
    return TunedEncoders(view, held)


def _token_ids(folder: Path, texts: Sequence[str], most: int) -> list[NDArray[np.int64]]:
    rows = TextModel.open(folder).prepare(list(texts))
    return [np.asarray(row.ids, np.int64)[:most] for row in rows]


def _learn(
    folder: Path, rows: Sequence[NDArray[np.int64]], targets: NDArray[np.int64], options: TuneOptions
) -> tuple[Any, Any]:
    """The encoder and the head after they have learned."""
    torch, transformers = need("torch", extra="train"), need("transformers", extra="convert")
    torch.manual_seed(options.seed)
    net = transformers.AutoModel.from_pretrained(str(folder), local_files_only=True)
    net.embeddings.requires_grad_(False)
    head = torch.nn.Linear(net.config.hidden_size, targets.shape[1])
    torch.nn.init.normal_(head.weight, std=0.02)
    share = np.clip(targets.mean(axis=0), MIN_SHARE, MAX_SHARE)
    with torch.no_grad():
        head.bias.copy_(torch.from_numpy(np.log(share / (1 - share))))
    tuned = [weight for weight in net.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": tuned, "lr": options.learning_rate},
         {"params": head.parameters(), "lr": HEAD_RATE * options.learning_rate}]
    )  # fmt: skip
    num_steps = options.epochs * math.ceil(len(rows) / options.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step + 1, num_steps))
    truth = torch.from_numpy(targets.astype(np.float32))
    net.train()
    for chosen in _batches(rows, options):
        with torch.autocast("cpu", torch.bfloat16):
            scores = head(LOG_ODDS_SCALE * _mean_vectors(net, [rows[index] for index in chosen]))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scores.float(), truth[chosen])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*tuned, *head.parameters()], 1.0)
        optimizer.step()
        schedule.step()
    return net.eval(), head


def _mean_vectors(net: Any, rows: Sequence[NDArray[np.int64]]) -> Any:
    """The means (N, D) of the tokens' vectors, brought to length 1."""
    torch = need("torch", extra="train")
    lengths = np.array([len(row) for row in rows])
    mask = torch.from_numpy((np.arange(lengths.max()) < lengths[:, None]).astype(np.int64))
    ids = torch.full(mask.shape, int(net.config.pad_token_id or 0))
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.from_numpy(row)
    hidden = net(input_ids=ids, attention_mask=mask).last_hidden_state.float()
    means = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    return torch.nn.functional.normalize(means, dim=1)


def _batches(rows: Sequence[NDArray[np.int64]], options: TuneOptions) -> Iterator[list[int]]:
    """Batches of passages of like length, in a new order each epoch."""
    size = options.batch_size
    for epoch in range(options.epochs):
        draw = np.random.default_rng((options.seed, epoch))
        order = draw.permutation(len(rows)).tolist()
        wide = POOL_BATCHES * size
        pools = [sorted(order[at : at + wide], key=lambda row: len(rows[row])) for at in range(0, len(order), wide)]
        batches = [pool[at : at + size] for pool in pools for at in range(0, len(pool), size)]
        for place in draw.permutation(len(batches)).tolist():
            yield batches[place]


def _rate(step: int, num_steps: int) -> float:
    """The share of the peak rate: up, then down to nothing."""
    return min(step / max(WARM_UP * num_steps, 1), 1.0) * max(num_steps - step, 0) / num_steps


def _write_folder(source: Path, net: Any, target: Path) -> Path:
    """A folder like `source` with the weights of `net`."""
    target.mkdir()
    for path in source.rglob("*"):
        if path.is_file() and path.suffix in KEPT_SUFFIXES:
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / path.relative_to(source))
    net.save_pretrained(str(target), safe_serialization=True)
    return target
