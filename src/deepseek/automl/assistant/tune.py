"""Fine-tunes an encoder to the intents of a set of questions, several times, each without a part of the rows.

    tuned = tune_encoder(Path("all-MiniLM"), questions, labels, num_intents, TuneOptions(), scratch)
    tuned.encoders, tuned.heads                       # K encoders, and the directions of the intents in each
    tuned.held                                        # (N, C): each row by the encoder that has not seen it

The logit of an intent is COSINE_SCALE times the cosine between the mean of the question's tokens and the intent's
direction (Wang et al. 2018, CosFace, arXiv 1801.09414, formula 2, without its margin). Together the K encoders answer
better than one that saw every row, and their own held rows say how well each does alone.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.assistant.frozen_layers import frozen_states, join_states, open_tower, token_ids
from deepseek.contracts import Float32
from deepseek.engines.assistant.heads import COSINE_SCALE, CosineHead
from deepseek.engines.assistant.model import Encoder
from deepseek.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from deepseek.nn.pretrained import PretrainedTextEncoder

POOL_BATCHES = 50  # that are sorted by length together
HEAD_RATE = 10.0  # times the rate of the encoder: the head starts from nothing
WEIGHTS_FILE = "model.safetensors"
KEPT_SUFFIXES = frozenset({".json", ".txt"})


@dataclass(frozen=True)
class TuneOptions:
    """How an encoder learns."""

    num_encoders: int = 3  # each learns without another part of the rows
    epochs: int = 4
    lr: float = 2e-4  # peak, of AdamW
    trained_layers: int = 3  # from the top; those below are computed once and stay as they are
    batch_size: int = 32
    smoothing: float = 0.1  # of the labels, 0..1: some of them are wrong
    dropout: float = 0.1  # of the embedding, 0..1
    precision: Literal["fp32", "bf16"] = "bf16"  # of autocast
    seed: int = 0


@dataclass(frozen=True, eq=False)
class TunedEncoders:
    """Encoders that have learned the intents."""

    encoders: Mapping[str, Encoder]  # by name
    folders: Mapping[str, Path]  # by name
    heads: Mapping[str, CosineHead]  # by name
    held: Float32  # (N, C) scores of each row by the encoder that has not seen it


class QuestionBatches:
    """Batches ((states, mask), labels) of questions of like length, in a new order each epoch. For `fit`, which tells
    it the epoch. Of each question the states (L, H) behind the frozen layers."""

    def __init__(self, states: Sequence[Tensor], labels: NDArray[np.int64], options: TuneOptions) -> None:
        self._states, self._labels, self._options, self._epoch = states, labels, options, 0

    def set_epoch(self, epoch: int) -> None:
        """The order of the rows is drawn from this number."""
        self._epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self._states) / self._options.batch_size)

    def __iter__(self) -> Iterator[tuple[tuple[Tensor, Tensor], Tensor]]:
        import torch

        size = self._options.batch_size
        draw = np.random.default_rng((self._options.seed, self._epoch))
        rows = draw.permutation(len(self._states)).tolist()
        wide = POOL_BATCHES * size
        pools = [
            sorted(rows[at : at + wide], key=lambda row: len(self._states[row])) for at in range(0, len(rows), wide)
        ]
        batches = [pool[at : at + size] for pool in pools for at in range(0, len(pool), size)]
        for place in draw.permutation(len(batches)).tolist():
            chosen = [self._states[row] for row in batches[place]]
            yield join_states(chosen), torch.from_numpy(self._labels[batches[place]])


def tune_encoder(
    folder: Path, questions: Sequence[str], labels: NDArray[np.int64], num_intents: int, options: TuneOptions,
    scratch: Path, tell: Callable[[str, float], None] | None = None,
) -> TunedEncoders:  # fmt: skip
    """`folder`: a Hugging Face folder; `labels` (N,) from 0; `scratch`: a folder that is
    there, in which the new ones are written. Errors as those of load_text_encoder(); ExtraError without torch."""
    from deepseek.engines.text import TextModel
    from deepseek.engines.text.serve.embedding import FolderEncoder

    model = TextModel.open(folder)
    if model.pooling.modes != ("mean",):
        raise InputError(
            f"{folder} pools its tokens by {', '.join(model.pooling.modes)}", expected="their mean",
            fix="tune another encoder, and give this one to --encoder alone",
        )  # fmt: skip
    ids = token_ids(folder, questions)
    tower = open_tower(folder)
    states = frozen_states(tower, ids, _num_frozen(tower, options))
    part_of = np.random.default_rng((options.seed, 3)).permutation(len(ids)) % options.num_encoders
    held = np.zeros((len(ids), num_intents), np.float32)
    encoders: dict[str, Encoder] = {}
    folders, heads = {}, {}
    for part in range(options.num_encoders):
        if tell is not None:
            tell(f"tuning encoder {part + 1} of {options.num_encoders}", part / options.num_encoders)
        rows = np.flatnonzero(part_of != part).tolist()
        tower, head = _learn(folder, [states[row] for row in rows], labels[rows], num_intents, options)
        name = f"{model.name}-tuned-{part}"
        folders[name] = write_tuned(folder, tower, scratch / name)
        heads[name] = CosineHead(head)
        encoders[name] = FolderEncoder(folders[name])
        own = np.flatnonzero(part_of == part).tolist()
        held[own] = heads[name].scores(encoders[name].embed([questions[row] for row in own]))
    return TunedEncoders(encoders, folders, heads, held)


def _num_frozen(tower: PretrainedTextEncoder, options: TuneOptions) -> int:
    return max(0, len(tower.layers) - options.trained_layers)


def _learn(
    folder: Path, states: Sequence[Tensor], labels: NDArray[np.int64], num_intents: int, options: TuneOptions
) -> tuple[PretrainedTextEncoder, Float32]:
    """The encoder after its upper layers have learned, and the directions (C, H) of the intents, of length 1."""
    import torch
    from torch.nn import functional

    from deepseek.nn.intents import IntentNet
    from deepseek.train import TrainConfig, fit

    torch.manual_seed(options.seed)
    tower = open_tower(folder)
    num_frozen = _num_frozen(tower, options)
    net = IntentNet(tower, num_intents, num_frozen=num_frozen, scale=COSINE_SCALE, dropout=options.dropout)
    config = TrainConfig(epochs=options.epochs, lr=options.lr, seed=options.seed, precision=options.precision)

    def loss(logits: Tensor, wanted: Tensor) -> Tensor:
        return functional.cross_entropy(logits.float(), wanted, label_smoothing=options.smoothing)

    groups = [
        {"params": list(net.layers.parameters()), "lr": options.lr},
        {"params": [net.directions], "lr": HEAD_RATE * options.lr},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    batches = QuestionBatches(states, labels, options)
    num_steps = options.epochs * len(batches)

    def schedule(each: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LambdaLR:
        return torch.optim.lr_scheduler.LambdaLR(each, lambda step: config.rate(step, num_steps))

    fit(net, batches, config, loss=loss, optimizer=optimizer, scheduler=schedule, progress=False)
    directions = functional.normalize(net.directions.detach(), dim=1).numpy()
    return tower.eval(), np.ascontiguousarray(directions, np.float32)


def write_tuned(base: Path, tower: PretrainedTextEncoder, out: Path) -> Path:
    """The folder `out`: tokenizer and settings of `base`, and the weights of the tower in float16."""
    from safetensors.numpy import save_file

    from deepseek.automl.pretrained_encoders import stored_weights

    out.mkdir(parents=True)
    for path in sorted(base.rglob("*")):
        if path.is_file() and path.suffix in KEPT_SUFFIXES and not path.name.endswith("index.json"):
            target = out / path.relative_to(base)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    state = {name: value.numpy() for name, value in tower.state_dict().items()}
    tensors = {name: np.ascontiguousarray(value, np.float16) for name, value in stored_weights(base, state).items()}
    save_file(tensors, out / WEIGHTS_FILE, metadata={"format": "pt"})
    return out
