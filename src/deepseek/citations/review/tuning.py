"""An encoder that learns the lines of a checklist: fine-tuned several times, each without a part of the documents.

    tuned = tune_encoders(Path("all-MiniLM"), groups, targets, TuneOptions(), scratch)
    tuned.view.scores(texts)                 # (N, K): the mean of the encoders' log-odds
    tuned.held                               # of each document by the encoder that has not seen it

The log-odds of a line are a linear function of the mean of a passage's tokens, brought to length 1; the loss is that of
one logistic regression for each line. The lower layers stay as they are: what they make of each passage is computed
once, and the upper ones learn from it. Tokens are those of engines/text, so that what was learned is what is run.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.citations.retrieval.embedder import FolderEmbedder
from deepseek.citations.review.progress import Progress, part_progress
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
FROZEN_BATCH = 64  # passages that go through the lower layers at once
FROZEN_SHARE = 0.1  # of the time


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """How an encoder learns."""

    num_encoders: int = 3  # each learns without another part of the documents
    epochs: int = 4
    learning_rate: float = 2e-4  # peak, of AdamW
    trained_layers: int = 3  # from the top; those below, and the vectors of the tokens, stay as they are
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
    owner = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    truth = np.concatenate(list(targets))
    states = _lower_states(folder, [row for group in ids for row in group], options)
    progress("tuning", FROZEN_SHARE)
    folders, encoders, weights, bias = [], [], [], []
    for number in range(options.num_encoders):
        low, high = (FROZEN_SHARE + (1 - FROZEN_SHARE) * (number + part) / options.num_encoders for part in (0, 1))
        hear = part_progress(progress, low, high)
        rows = np.flatnonzero(fold[owner] != number)
        net, head = _learn(folder, [states[row] for row in rows.tolist()], truth[rows], options, hear)
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


def _pass_states(*arguments: Any, **named: Any) -> Any:
    """Stands where a net makes vectors of tokens: it begins with the states that it gets. BERT names
    them, DistilBERT gives them second."""
    return named["inputs_embeds"] if "inputs_embeds" in named else arguments[1]


def _open_net(folder: Path) -> Any:
    """The encoder of a folder as a module of transformers."""
    transformers = need("transformers", extra="convert")
    return transformers.AutoModel.from_pretrained(str(folder), local_files_only=True)


def _stack_of(net: Any) -> Any:
    """The module that holds the layers: BERT and RoBERTa call it encoder, DistilBERT transformer."""
    return net.encoder if hasattr(net, "encoder") else net.transformer


def _num_lower(net: Any, options: TuneOptions) -> int:
    return max(0, len(_stack_of(net).layer) - options.trained_layers)


def _lower_states(folder: Path, rows: Sequence[NDArray[np.int64]], options: TuneOptions) -> list[Any]:
    """Of each passage the states (L, D) behind the layers that do not learn, as float16."""
    torch = need("torch", extra="train")
    net = _open_net(folder).eval()
    stack = _stack_of(net)
    stack.layer = stack.layer[: _num_lower(net, options)]
    states: list[Any] = [None] * len(rows)
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, len(order), FROZEN_BATCH):
            chosen = order[start : start + FROZEN_BATCH]
            mask = _mask([rows[row] for row in chosen])
            ids = torch.full(mask.shape, int(net.config.pad_token_id or 0))
            for place, row in enumerate(chosen):
                ids[place, : len(rows[row])] = torch.from_numpy(rows[row])
            hidden = net(input_ids=ids, attention_mask=mask).last_hidden_state
            for place, row in enumerate(chosen):
                states[row] = hidden[place, : len(rows[row])].half().clone()
    return states


def _learn(
    folder: Path, states: Sequence[Any], targets: NDArray[np.int64], options: TuneOptions, progress: Progress
) -> tuple[Any, Any]:
    """The encoder and the head after they have learned from the states (L, D) of the lower layers."""
    torch = need("torch", extra="train")
    torch.manual_seed(options.seed)
    net = _open_net(folder)
    stack, embeddings = _stack_of(net), net.embeddings
    layers = stack.layer
    stack.layer = layers[_num_lower(net, options) :]
    net.embeddings = torch.nn.Identity()
    net.embeddings.forward = _pass_states
    head = torch.nn.Linear(net.config.hidden_size, targets.shape[1])
    torch.nn.init.normal_(head.weight, std=0.02)
    share = np.clip(targets.mean(axis=0), MIN_SHARE, MAX_SHARE)
    with torch.no_grad():
        head.bias.copy_(torch.from_numpy(np.log(share / (1 - share))))
    tuned = list(stack.parameters())
    optimizer = torch.optim.AdamW(
        [{"params": tuned, "lr": options.learning_rate},
         {"params": head.parameters(), "lr": HEAD_RATE * options.learning_rate}], fused=True
    )  # fmt: skip
    num_steps = options.epochs * math.ceil(len(states) / options.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step + 1, num_steps))
    truth = torch.from_numpy(targets.astype(np.float32))
    net.train()
    for step, chosen in enumerate(_batches(states, options)):
        with torch.autocast("cpu", torch.bfloat16):
            scores = head(LOG_ODDS_SCALE * _mean_vectors(net, [states[row] for row in chosen]))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scores.float(), truth[chosen])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*tuned, *head.parameters()], 1.0)
        optimizer.step()
        schedule.step()
        progress("tuning", (step + 1) / num_steps)
    net.embeddings, stack.layer = embeddings, layers
    return net.eval(), head


def _mean_vectors(net: Any, rows: Sequence[Any]) -> Any:
    """The means (N, D) of the tokens' vectors behind the upper layers, brought to length 1, of states (L, D)."""
    torch = need("torch", extra="train")
    mask = _mask(rows)
    states = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True).float()
    hidden = net(inputs_embeds=states, attention_mask=mask).last_hidden_state.float()
    means = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    return torch.nn.functional.normalize(means, dim=1)


def _mask(rows: Sequence[Any]) -> Any:
    """Which tokens (N, L) are there, of rows of some length."""
    torch = need("torch", extra="train")
    lengths = np.array([len(row) for row in rows])
    return torch.from_numpy((np.arange(lengths.max()) < lengths[:, None]).astype(np.int64))


def _batches(rows: Sequence[Any], options: TuneOptions) -> Iterator[list[int]]:
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
