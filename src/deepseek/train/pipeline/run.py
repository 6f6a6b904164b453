"""The pipe: this process's stages of a model, a step through all of them, and its state under the model's own names.

check -> measure the link -> rank 0 measures the blocks, cuts, chooses -> all build their stages -> step
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage

from deepseek.config import build_dataclass
from deepseek.errors import InputError, MissingError
from deepseek.train.distributed import ranks
from deepseek.train.pipeline.check import check_blocks, check_mean_loss, check_shared_parameters, first_rows
from deepseek.train.pipeline.link import broadcast_json, measure_link
from deepseek.train.pipeline.plan import (
    Forecast,
    Link,
    StageCost,
    build_schedule,
    check_schedule,
    choose_schedule,
    rank_stages,
)
from deepseek.train.pipeline.split import (
    BlockCost,
    Blocks,
    Loss,
    Value,
    balance_stages,
    eval_mode,
    measure_blocks,
    named_blocks,
    value_tensors,
)

if TYPE_CHECKING:
    from deepseek.contracts import JsonObject


@dataclass(frozen=True)
class Plan:
    """How the model is cut, and why."""

    schedule: str  # a name of plan.SCHEDULES
    why: str  # the reason for that schedule, in words
    stages: tuple[tuple[str, ...], ...]  # names of the blocks of each stage
    costs: tuple[BlockCost, ...]  # of each block, in running order
    forecast: Forecast
    link: Link


class Stage(nn.Module):
    """Consecutive blocks."""

    def __init__(self, blocks: Blocks, *, takes_tuple: bool) -> None:
        super().__init__()
        self.names = [name for name, _ in blocks]
        self.blocks = nn.ModuleList(block for _, block in blocks)
        self.takes_tuple = takes_tuple

    def forward(self, *values: Tensor) -> Value:
        """The output of the stage for the tensors that the stage before gives: dense, and no views."""
        value: Value = tuple(map(_dense_backward, values)) if self.takes_tuple else _dense_backward(values[0])
        for block in self.blocks:
            value = block(value)
        return tuple(map(_sendable, value)) if isinstance(value, tuple) else _sendable(value)


def _sendable(tensor: Tensor) -> Tensor:
    """Dense, to be sent, and no view: torch cuts the graph off at a stage's output in place, which a view forbids."""
    dense = tensor.contiguous()
    return dense.clone() if dense._is_view() else dense


class _DenseBackward(torch.autograd.Function):
    """The identity, whose gradient is contiguous: an expanded or turned one cannot be sent."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].contiguous()


def _dense_backward(tensor: Tensor) -> Tensor:
    dense: Tensor = _DenseBackward.apply(tensor)  # type: ignore[no-untyped-call]
    return dense


def parallelize(
    model: nn.Module,
    *,
    stages: int,
    micro_batches: int,
    example: tuple[Value, Tensor],
    loss: Loss,
    schedule: str = "auto",
    blocks: str | Sequence[str] = (),
    group: dist.ProcessGroup | None = None,
    device: torch.device | str = "cpu",
) -> Pipe:
    """Cut `model` into `stages` consecutive stages over the processes of `group` and give this process's part.

    Every process calls it with the same model and arguments. `example` is one batch (inputs, targets), rows first; each
    step takes batches of its shape, in `micro_batches` equal parts. `loss` is a mean over rows: a sum, or a mean
    weighted over the whole batch, would not be what one process gets, and is refused. `blocks` names the model's parts
    in running order where it is not an nn.Sequential. What was chosen and why stands in `.plan`.

    Raises InputError when sizes do not divide, when there are fewer blocks than stages, when the blocks in a row do not
    compute what the model does, and when parameters are shared between stages.
    """
    if not dist.is_initialized():
        raise InputError(
            "there is no process group",
            expected="one process for each part of the pipeline",
            fix="start the program with torchrun and call torch.distributed.init_process_group first",
        )
    ranks.delay_exit_for_gloo()
    rank, world = dist.get_rank(group), dist.get_world_size(group)
    check_schedule(schedule, world=world, stages=stages, micro_batches=micro_batches)
    micro = first_rows(example, micro_batches, 1)
    named = named_blocks(model.to(device), blocks)
    link = measure_link(group, torch.device(device))

    def plan_on_rank_0() -> JsonObject:
        check_blocks(model, named, micro[0])
        check_mean_loss(named, first_rows(example, micro_batches, 2), loss)
        costs = measure_blocks(named, micro[0], targets=micro[1], loss=loss)
        glued = [index for index, cost in enumerate(costs) if cost.writes_input]
        ends = balance_stages([cost.total_s for cost in costs], stages, glued=glued)
        check_shared_parameters(named, ends)
        stage_costs = _stage_costs(costs, ends)
        chosen, why = choose_schedule(schedule, stage_costs, world=world, micro_batches=micro_batches, link=link)
        names = [name for name, _ in named]
        cut_names = tuple(tuple(names[start:end]) for start, end in zip([0, *ends[:-1]], ends, strict=True))
        return asdict(Plan(chosen.schedule, why, cut_names, tuple(costs), chosen, link))

    document = broadcast_json(plan_on_rank_0 if rank == 0 else None, group, torch.device(device))
    plan = build_dataclass(Plan, document)
    by_name = dict(named)
    cut = [[(name, by_name[name]) for name in stage_names] for stage_names in plan.stages]
    return Pipe(model, cut, plan, example, micro_batches=micro_batches, loss=loss, group=group, device=device)


class Pipe:
    """This process's stages. Made by `parallelize`."""

    def __init__(
        self,
        model: nn.Module,
        cut: Sequence[Blocks],
        plan: Plan,
        example: tuple[Value, Tensor],
        *,
        micro_batches: int,
        loss: Loss,
        group: dist.ProcessGroup | None,
        device: torch.device | str,
    ) -> None:
        self.plan = plan
        self.group, self.device = group or dist.group.WORLD, torch.device(device)
        self.rank, self.world = dist.get_rank(group), dist.get_world_size(group)
        stages_by_rank = [
            rank_stages(rank, world=self.world, stages=len(cut), schedule=plan.schedule) for rank in range(self.world)
        ]
        self._owner = {
            name: rank for rank, indices in enumerate(stages_by_rank) for index in indices for name, _ in cut[index]
        }
        self._state = {key: (tuple(value.shape), value.dtype) for key, value in model.state_dict().items()}
        self._inputs = _describe_tensors(value_tensors(example[0], "the inputs of the example"))
        self._targets = _describe_tensors(example[1:])
        self._micro_batches = micro_batches
        # Divided here and not by torch afterwards: gradients kept from a step before must not be divided again.
        self._loss: Loss = lambda output, want: loss(output, want) / micro_batches
        by_name = {cost.name: cost.outputs for cost in plan.costs}
        self._inputs_of = {index: by_name[cut[index - 1][-1][0]] for index in range(1, len(cut))}
        self._local_stages = [
            _torch_stage(index, cut, plan, first_rows(example, micro_batches, 1)[0], group, self.device)
            for index in stages_by_rank[self.rank]
        ]
        self.stages: list[Stage] = [stage.submod for stage in self._local_stages]
        self.has_first, self.has_last = (
            any(s.is_first for s in self._local_stages),
            any(s.is_last for s in self._local_stages),
        )
        self._schedule = build_schedule(plan.schedule, self._local_stages, micro_batches, self._loss)
        for stage in self.stages:
            if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in stage.modules()):
                warnings.warn(
                    f"batch normalisation in {', '.join(stage.names)} sees one micro-batch at a time, so its "
                    "statistics and gradients are not those of the whole batch; nn.LayerNorm and nn.GroupNorm would be",
                    stacklevel=3,
                )

    def step(self, inputs: Value | None, targets: Tensor | None) -> Tensor | None:
        """One batch through all stages, forward and backward; gradients are added to the parameters.

        Gives the loss of the whole batch on the process that holds the last stage (`has_last`), None elsewhere. Only
        the process of the first stage (`has_first`) needs inputs, only that of the last needs targets.
        """
        if not torch.is_grad_enabled():
            raise InputError(
                "step() is called without gradients", expected="gradients on", fix="call evaluate(), or leave no_grad()"
            )
        local_inputs, local_targets = self._check_and_move(inputs, targets)
        losses: list[Tensor] = []
        self._schedule.step(*local_inputs, target=local_targets, losses=losses, return_outputs=False)
        return torch.stack(losses).detach().sum() if self.has_last else None

    def evaluate(self, inputs: Value | None, targets: Tensor | None) -> Tensor | None:
        """The loss of a batch as `step` gives it, without gradients and with all modules in eval mode."""
        local_inputs, local_targets = self._check_and_move(inputs, targets)
        parts: list[Value] = []
        if self.has_first:
            parts = list(zip(*(tensor.chunk(self._micro_batches) for tensor in local_inputs), strict=True))
        sends: list[dist.Work] = []
        # Not by torch's schedule: those in V form cannot run forward alone (2.13).
        with eval_mode(stage.submod for stage in self._local_stages), torch.no_grad():
            for stage in self._local_stages:  # in order of their indices: all micro-batches through one, then the next
                local = stage.is_first or stage.stage_index_to_group_rank[stage.stage_index - 1] == self.rank
                values = parts if local else (self._receive(stage) for _ in range(self._micro_batches))
                parts = []
                for value in values:
                    parts.append(stage.submod(*(value if isinstance(value, tuple) else (value,))))
                    sends += self._send(stage, parts[-1])
            for work in sends:
                work.wait()
            if local_targets is None:
                return None
            losses = [
                self._loss(one, two) for one, two in zip(parts, local_targets.chunk(self._micro_batches), strict=True)
            ]
        return torch.stack(losses).sum()

    def _receive(self, stage: Any) -> Value:
        origin = stage.stage_index_to_group_rank[stage.stage_index - 1]
        specs = self._inputs_of[stage.stage_index]
        tensors = tuple(torch.empty(spec.shape, dtype=spec.torch_dtype, device=self.device) for spec in specs)
        for tensor in tensors:
            dist.recv(tensor, group=self.group, group_src=origin)
        return tensors

    def _send(self, stage: Any, value: Value) -> list[dist.Work]:
        if stage.is_last or stage.stage_index_to_group_rank[stage.stage_index + 1] == self.rank:
            return []
        target = stage.stage_index_to_group_rank[stage.stage_index + 1]
        works = [
            dist.isend(part, group=self.group, group_dst=target) for part in value_tensors(value, "a stage's output")
        ]
        return [work for work in works if work is not None]

    def _check_and_move(self, inputs: Value | None, targets: Tensor | None) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """What this process needs of a batch, of the example's shape and on its device."""
        local_inputs: tuple[Tensor, ...] = ()
        if self.has_first:
            local_inputs = () if inputs is None else value_tensors(inputs, "the inputs")
            _check_batch("inputs", local_inputs, self._inputs)
        if not self.has_last:
            targets = None
        else:
            _check_batch("targets", () if targets is None else value_tensors(targets, "the targets"), self._targets)
        return tuple(part.to(self.device) for part in local_inputs), None if targets is None else targets.to(
            self.device
        )

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters of this process's stages, under the names that they have in the model."""
        for name, block in self._blocks():
            for key, parameter in block.named_parameters():
                yield f"{name}.{key}", parameter

    def parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of this process's stages, for an optimizer of its own."""
        return (parameter for _, parameter in self.named_parameters())

    def clip_grad_norm_(self, max_norm: float) -> Tensor:
        """Scale all gradients down to `max_norm` over the whole model, as one process would. Gives the norm before."""
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        squared = torch.nn.utils.get_total_norm(gradients).to(self.device) ** 2
        dist.all_reduce(squared, group=self.group)
        norm = squared.sqrt()
        torch.nn.utils.clip_grads_with_norm_(list(self.parameters()), max_norm, norm)
        return norm

    def state_dict(self) -> dict[str, Tensor]:
        """This process's part of the model's state under the model's own names: what a distributed checkpoint takes."""
        state = {}
        for name, block in self._blocks():
            state.update({f"{name}.{key}": value for key, value in block.state_dict().items()})
        return state

    def whole_state_dict(self) -> dict[str, Tensor]:
        """The whole model's state, on the CPU of rank 0; nothing elsewhere. The unsplit model loads it."""
        mine, whole = self.state_dict(), {}
        for key, (shape, dtype) in self._state.items():
            owner = next(rank for name, rank in self._owner.items() if key.startswith(f"{name}."))
            if owner == self.rank == 0:
                whole[key] = mine[key].detach().cpu().clone()
            elif owner == self.rank:
                # As bytes: gloo does not know every type.
                dist.send(mine[key].detach().contiguous().reshape(-1).view(torch.uint8), group=self.group, group_dst=0)
            elif self.rank == 0:
                buffer = torch.empty(shape, dtype=dtype, device=self.device)
                dist.recv(buffer.reshape(-1).view(torch.uint8), group=self.group, group_src=owner)
                whole[key] = buffer.cpu()
        return whole

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load this process's part out of a state of the whole model, or of any part that holds it."""
        unknown = [key for key in state if key not in self._state]
        if unknown:
            raise InputError(
                f"the state has {', '.join(unknown[:3])}, which this model has not",
                expected=f"names like {next(iter(self._state), 'none')}",
                fix="load the state of the same model",
            )
        missing = [key for key in self.state_dict() if key not in state]
        if missing:
            raise MissingError(
                f"the state lacks {', '.join(missing[:3])}",
                expected="every parameter and buffer of this process's stages",
                fix="give the state of the whole model, such as whole_state_dict() or the unsplit model's",
            )
        for key in self.state_dict():
            if tuple(state[key].shape) != self._state[key][0]:
                raise InputError(
                    f"{key} has the shape {tuple(state[key].shape)} in the state",
                    expected=f"{self._state[key][0]}",
                    fix="load the state of the same model",
                )
        for name, block in self._blocks():
            prefix = f"{name}."
            block.load_state_dict({key: state[prefix + key] for key in block.state_dict()})

    def _blocks(self) -> Iterator[tuple[str, nn.Module]]:
        for stage in self.stages:
            yield from zip(stage.names, stage.blocks, strict=True)


def _torch_stage(
    index: int, cut: Sequence[Blocks], plan: Plan, inputs: Value, group: dist.ProcessGroup | None, device: torch.device
) -> Any:
    """Torch's stage with all shapes given, so that it does not have to run the model to find them."""
    by_name = {cost.name: cost for cost in plan.costs}
    before = by_name[cut[index - 1][-1][0]] if index else None
    takes_tuple = before.is_tuple if before else isinstance(inputs, tuple)
    takes = tuple(spec.empty() for spec in before.outputs) if before else value_tensors(inputs, "the inputs")
    gives = tuple(spec.empty() for spec in by_name[cut[index][-1][0]].outputs)
    stage = Stage(cut[index], takes_tuple=takes_tuple)
    return PipelineStage(stage, index, len(cut), device, input_args=takes, output_args=gives, group=group)


def _describe_tensors(tensors: Sequence[Any]) -> list[str]:
    return [f"{tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}" for tensor in tensors]


def _check_batch(what: str, tensors: Sequence[Tensor], expected: list[str]) -> None:
    if _describe_tensors(tensors) != expected:
        raise InputError(
            f"the {what} are {' and '.join(_describe_tensors(tensors)) or 'not given'}",
            expected=f"{' and '.join(expected)}, as in the example",
            fix="give whole batches (drop_last=True leaves out the short one), or parallelize with such an example",
        )


def _stage_costs(costs: Sequence[BlockCost], ends: Sequence[int]) -> list[StageCost]:
    stage_costs = []
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        part = costs[start:end]
        output_bytes = sum(spec.size_bytes for spec in part[-1].outputs)
        keys = ("forward_s", "backward_s", "input_s", "weight_s")
        forward_s, backward_s, input_s, weight_s = (sum(getattr(cost, key) for cost in part) for key in keys)
        if (
            start == 0
        ):  # torch does not part the backward pass of the first stage: nobody waits for its input's gradient
            input_s, weight_s = 0.0, backward_s
        saved = sum(cost.saved_bytes for cost in part)
        stage_costs.append(StageCost(forward_s, backward_s, input_s, weight_s, saved, output_bytes))
    return stage_costs
