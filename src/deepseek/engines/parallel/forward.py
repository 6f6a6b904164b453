"""One forward pass of a model that several processes hold: what one process would give, on each of them.

    logits = run(part, tokens, mask)

With stages, the batch goes through them in micro-batches (torch's GPipe schedule, forward alone). Shapes are known
beforehand, so that processes exchange tensors and nothing that would have to be unpickled.
"""

from __future__ import annotations

from typing import Any

from deepseek.errors import CheckError, InputError
from deepseek.extras import need

need("torch", extra="train")

import torch  # noqa: E402  (after the door, so that its absence is an ExtraError)
import torch.distributed as dist  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe  # noqa: E402

from deepseek.engines.parallel.part import Part  # noqa: E402
from deepseek.train.distributed import ranks  # noqa: E402


def run(part: Part, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """The model's output for `tokens` (batch, tokens) int64; every process gives the same ones.

    mask: (batch, tokens) bool, True where a token is; None: everywhere. At other places the output means nothing.

    Gives logits (batch, tokens, vocabulary) of a decoder; vectors (batch, tokens, width) or logits (batch, classes) of
    an encoder. Raises InputError for tokens that the model does not know, and CheckError when another process is gone.
    """
    _check(part, tokens, mask)
    try:
        with torch.no_grad():
            return part(tokens, mask) if part.num_stages == 1 else _through_stages(part, tokens, mask)
    except (RuntimeError, dist.DistError) as error:
        if not ranks.is_rank_lost(error):
            raise
        raise CheckError(
            f"process {dist.get_rank()} of {dist.get_world_size()} has lost another, which held a part of the model",
            expected="all processes alive", fix="start all of them again: no part can answer alone",
        ) from error  # fmt: skip


def _through_stages(part: Part, tokens: Tensor, mask: Tensor | None) -> Tensor:
    rows, length = tokens.shape
    micro = max(each for each in range(1, min(rows, part.num_stages) + 1) if rows % each == 0)
    key = (rows, length, micro)
    if part.schedule is None or part.schedule[0] != key:
        part.schedule = (key, _schedule(part, rows // micro, length, micro))
    given = (tokens,) if part.is_first else ()
    more = {} if mask is None else {"mask": mask}
    answer: Tensor | None = part.schedule[1].eval(*given, **more)
    if answer is None:  # it is the last stage's
        answer = torch.empty(_output_shape(part, rows, length), dtype=part.dtype, device=tokens.device)
    answer = answer.contiguous()
    dist.broadcast(answer, group=part.mesh["pp"].get_group(), group_src=part.num_stages - 1)
    return answer


def _schedule(part: Part, rows: int, length: int, micro: int) -> Any:
    """Torch's schedule over this stage, for micro-batches of one shape."""
    tokens = torch.empty(rows, length, dtype=torch.int64, device="meta")
    hidden = torch.empty(rows, length, part.config.hidden_size, dtype=part.dtype, device="meta")
    output = torch.empty(_output_shape(part, rows, length), dtype=part.dtype, device="meta")
    stage = PipelineStage(
        part, part.stage, part.num_stages, torch.device(part.mesh.device_type),
        input_args=tokens if part.is_first else hidden, output_args=output if part.is_last else hidden,
        group=part.mesh["pp"].get_group(),
    )  # fmt: skip
    return ScheduleGPipe(stage, micro)


def _output_shape(part: Part, rows: int, length: int) -> tuple[int, ...]:
    return (rows, length, part.width) if part.is_per_token else (rows, part.width)


def _check(part: Part, tokens: Tensor, mask: Tensor | None) -> None:
    config = part.config
    if tokens.ndim != 2 or tokens.dtype != torch.int64 or not tokens.numel():
        raise InputError(
            f"tokens are {tuple(tokens.shape)} of {tokens.dtype}", expected="(batch, tokens) of int64, at least one",
            fix="give what the tokenizer gives as input_ids",
        )  # fmt: skip
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= config.vocab_size:
        raise InputError(
            f"a token is {low if low < 0 else high}", expected=f"0 to {config.vocab_size - 1}",
            fix="use the tokenizer of the same folder",
        )  # fmt: skip
    # a window over the last tokens is no window for rows that are as short
    limits = [getattr(config, name, None) for name in ("max_position_embeddings", "sliding_window")]
    longest = min((limit for limit in limits if limit is not None), default=None)
    if longest is not None and tokens.shape[1] > longest:
        raise InputError(
            f"{tokens.shape[1]} tokens in a row", expected=f"at most {longest}", fix="cut the text into shorter rows"
        )
    if mask is not None and (mask.shape != tokens.shape or mask.dtype != torch.bool):
        raise InputError(
            f"the mask is {tuple(mask.shape)} of {mask.dtype}", expected=f"{tuple(tokens.shape)} of torch.bool",
            fix="give attention_mask.bool()",
        )  # fmt: skip
