"""What is refused before a pipeline starts.

A batch that does not divide, blocks that are not the model, a loss that is no mean, parameters in two stages.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.train.loop.stream import describe_batch
from deepseek.train.pipeline.split import Blocks, Loss, Value, eval_mode, run_block, value_tensors


def first_rows(example: tuple[Value, Tensor], micro_batches: int, count: int) -> tuple[Value, Tensor]:
    """The first `count` micro-batches of the example."""
    if not (isinstance(example, tuple) and len(example) == 2 and isinstance(example[1], Tensor)):
        raise InputError(
            f"the example is {type(example).__name__}",
            expected="a batch as step takes it: (inputs, targets)",
            fix="give example=(inputs, targets), of the size that you will train with",
        )
    inputs = value_tensors(example[0], "the inputs of the example")
    sizes = {part.shape[0] if part.ndim else 0 for part in (*inputs, example[1])}
    rows = min(sizes)
    if len(sizes) > 1 or micro_batches < 1 or rows < 1 or rows % micro_batches:
        near = max(1, rows - rows % micro_batches) if micro_batches > 0 else 1
        raise InputError(
            f"a batch of {' and '.join(map(str, sorted(sizes)))} rows cannot be cut into {micro_batches} micro-batches",
            expected="inputs and targets of as many rows, a multiple of micro_batches",
            fix=f"give batches of {max(near, micro_batches)} rows, or another micro_batches",
        )
    count = min(count, micro_batches) * (rows // micro_batches)
    first = tuple(part[:count] for part in inputs)
    return first if isinstance(example[0], tuple) else first[0], example[1][:count]


def check_blocks(model: nn.Module, blocks: Blocks, inputs: Value) -> None:
    """InputError unless the blocks one after the other compute what the model does on `inputs`."""
    with eval_mode(block for _, block in blocks), torch.no_grad():
        value = inputs
        for name, block in blocks:
            value = run_block(name, block, value)
        model_output = model(inputs)
    block_outputs, model_outputs = (
        value_tensors(value, "the blocks' output"),
        value_tensors(model_output, "the model's output"),
    )
    pairs = zip(block_outputs, model_outputs, strict=False)
    if len(block_outputs) != len(model_outputs) or not all(
        one.shape == two.shape and torch.allclose(one, two, rtol=1e-4, atol=1e-5, equal_nan=True) for one, two in pairs
    ):
        raise InputError(
            f"the blocks {blocks[0][0]} to {blocks[-1][0]} in a row do not compute what {type(model).__name__} does",
            expected="a forward that calls its blocks one after the other and does nothing between",
            fix="move what forward does besides into a module of its own and name it in blocks=(...), in running order",
        )


def check_mean_loss(blocks: Blocks, example: tuple[Value, Tensor], loss: Loss) -> None:
    """InputError unless the loss of two micro-batches together is the mean of their losses."""
    inputs, targets = example
    with eval_mode(block for _, block in blocks), torch.no_grad():
        output = inputs
        for _, block in blocks:
            output = block(output)
        whole = _evaluate_loss(loss, output, targets)
        half = max(1, len(targets) // 2)
        halves = [
            _evaluate_loss(
                loss, tuple(part[rows] for part in output) if isinstance(output, tuple) else output[rows], targets[rows]
            )
            for rows in (slice(None, half), slice(half, None))
            if len(targets[rows])
        ]
    if whole.ndim or not torch.allclose(whole, torch.stack(halves).mean(), rtol=1e-3, atol=1e-6, equal_nan=True):
        parts = ", ".join(f"{float(part.sum()):.6g}" for part in halves)
        raise InputError(
            f"the loss of two micro-batches together is {float(whole.sum()):.6g}, and of each {parts}",
            expected="one number, the mean over rows, so that the mean of the parts is that of the whole",
            fix="use a loss with reduction='mean' and no weights that are shared out over the batch",
        )


def _evaluate_loss(loss: Loss, output: Value, targets: Tensor) -> Tensor:
    """The loss of one batch. InputError for whatever it does on a batch that it does not fit: other processes wait for
    what this one says."""
    outputs = " and ".join(map(describe_batch, value_tensors(output, "the output")))
    shapes = f"outputs of {outputs} and targets of {describe_batch(targets)}"
    try:
        value = loss(output, targets)
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(
            f"the loss fails on {shapes}: {error}", expected="a loss that fits the model's output and the targets",
            fix="call loss(model(inputs), targets) on the example by hand",
        ) from error  # fmt: skip
    if not isinstance(value, Tensor):
        raise InputError(
            f"the loss of {shapes} is a {type(value).__name__}", expected="a tensor of one number",
            fix="compute it from the output with torch's operations, without float() or .item()",
        )  # fmt: skip
    return value


def check_shared_parameters(blocks: Blocks, ends: Sequence[int]) -> None:
    """InputError where blocks of two stages have one parameter. `ends`: where each stage ends (exclusive)."""
    stage_of = {index: sum(index >= end for end in ends) for index in range(len(blocks))}
    seen: dict[int, tuple[int, str]] = {}
    for index, (name, block) in enumerate(blocks):
        for key, parameter in block.named_parameters():
            stage, first = seen.setdefault(id(parameter), (stage_of[index], f"{name}.{key}"))
            if stage != stage_of[index]:
                raise InputError(
                    f"{first} in stage {stage} and {name}.{key} in stage {stage_of[index]} are one parameter",
                    expected="a parameter in one stage only, as each process updates its own",
                    fix="give fewer stages so that both fall into one, or a copy of its own to each",
                )
