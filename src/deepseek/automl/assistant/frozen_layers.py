"""The lower layers of an encoder, which stay as they are while the upper ones learn: computed once for all epochs.

tower = open_tower(Path("all-MiniLM"))
states = frozen_states(tower, token_ids(Path("all-MiniLM"), questions), num_frozen=3)    # of each question (L, H)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from deepseek.nn.pretrained import PretrainedTextEncoder

MAX_TOKENS = 64  # of a question that are learned from
BATCH_QUESTIONS = 64  # that pass the layers at a time


def open_tower(folder: Path) -> PretrainedTextEncoder:
    """The encoder of a folder as a torch module, in eval mode. Errors as those of load_text_encoder()."""
    import torch

    from deepseek.automl.pretrained_encoders import load_text_encoder
    from deepseek.nn.pretrained import PretrainedTextEncoder

    shape, weights, _ = load_text_encoder(folder, ["a"])
    if shape.text is None:
        raise AssertionError("the encoder of a text model has the shape of one")
    tower = PretrainedTextEncoder(shape.text)
    tower.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
    return tower.eval()


def token_ids(folder: Path, questions: Sequence[str]) -> list[NDArray[np.int64]]:
    """Of each question the ids of its tokens (L,), at most MAX_TOKENS."""
    from deepseek.engines.text import TextModel

    return [np.asarray(row.ids[:MAX_TOKENS], np.int64) for row in TextModel.open(folder).prepare(questions)]


def frozen_states(
    tower: PretrainedTextEncoder, ids: Sequence[NDArray[np.int64]], num_frozen: int, *, is_bf16: bool = False
) -> list[Tensor]:
    """Of each question the states (L, H) behind the first `num_frozen` layers, in float16. `is_bf16`: the layers are
    computed in bfloat16, which is faster where the processor has it."""
    import torch

    from deepseek.nn.intents import lower_states

    states: list[Tensor] = [torch.empty(0)] * len(ids)
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
        for start in range(0, len(order), BATCH_QUESTIONS):
            rows = order[start : start + BATCH_QUESTIONS]
            padded = torch.nn.utils.rnn.pad_sequence(
                [torch.from_numpy(ids[row]) for row in rows], batch_first=True, padding_value=tower.shape.pad_id
            )
            for row, each in zip(rows, lower_states(tower, padded, num_frozen), strict=True):
                states[row] = each[: len(ids[row])].half().clone()
    return states


def join_states(states: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """States (L, H) of N questions -> (N, L, H) with zeros behind each, and the mask (N, L) of what is none."""
    import torch

    ends = torch.tensor([len(each) for each in states])
    mask = torch.arange(int(ends.max())) < ends[:, None]
    return torch.nn.utils.rnn.pad_sequence(list(states), batch_first=True).float(), mask
