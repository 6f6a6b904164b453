"""AdaptiveOptimizer: Adam's direction in the gradients' own eigenbases, with a rate, a decay and bounds that it finds.

    optimizer = AdaptiveOptimizer(model.parameters(), initial_lr=0.001, lr_decay_rate=0.95, dynamic_threshold=0.8)
    loss.backward(); optimizer.step(); optimizer.zero_grad()
    optimizer.get_current_lr()

Parameters are valid at all times (no train() or eval() of the optimizer). One step, for gradients g_t of all tensors:

1. How far was the last step? The normalized hypergradient of the rate (arXiv 1703.04782, equation 5, normalized as in
   arXiv 1510.04609 section 3) is the cosine between the gradient and the direction u just taken:
       c_t = <g_t, u_(t-1)> / (|g_t| |u_(t-1)|)
       a_t, q_t = means of c_t and of its square, decaying by BETA_ALIGNMENT, bias-corrected
       rho_t = 1 + a_t / sqrt(q_t)
   a / sqrt(q) is 1 when all steps of late stopped short, -1 when all went too far; the division takes out how noisy the
   gradients are, as Adam's does for its direction. rho stands for the ratio of the decrease that the steps achieved to
   that of steps that end where an exact line search would (the gradient orthogonal to the step, a = 0). A threshold
   below 1 lets steps go past that, since what is best for one step is too short for the many that follow: the farther
   where the length of the training is known and gradients do not vanish (config.noise_share).
2. The rate.
       log rate += pace_t clip(rho_t - dynamic_threshold, -1, 1),   rate <= MAX_RATE
       pace_t = -ln(lr_decay_rate) (1 + BOOST 2^(-t / BOOST_STEPS))
   It does not rise above RATE_ROOM times the widest of the bounds below, which cut the step of every tensor there: such
   steps say nothing of longer ones, and where gradients are mostly noise (batches of some rows) a is too close to 0 to
   hold the rate back. The learning rate is this factor times the group's "lr", so that a scheduler multiplies.
3. The clipping norm n_t, the mean of |g_t|: a gradient longer than CLIP_RATIO n_(t-1) enters the momentum at that.
4. The direction. Adam's moments (arXiv 1412.6980, algorithm 1) with Nesterov's look-ahead (NAdam, Dozat 2016, section
   3), taken for matrices in the eigenbases of the gradients' Kronecker factors (kronecker.py). There, scales below
   MIN_SCALE of their root mean square are rounding errors and are not blown up. The second moment remembers a third of
   all steps at least (config.square_share). Where the length of the training is not known, and the rate that was found
   is not cut, the slow mean of the directions joins them (directions.py).
5. The bounds, per tensor: the step is at most trust_t max(rms(w), MIN_RMS), trust_t falling as 1 / t at last
   (config.max_relative_step), t counting the tensor's own steps; a direction shorter than MIN_LENGTH gets no wider one.
   Decoupled weight decay, which fades as 1 / t^4 (config.decay_share): it holds a short training back from learning its
   rows by heart, and a long one back from anything. Both rate and bound follow a scheduler (schedules.py). Once the
   rate has found its level, a matrix that grows faster than BOUND_GROWTH a step is pulled back, after constrained
   parameter regularization (arXiv 2311.09058, section 4: there by a Lagrange multiplier, here by a share BOUND_PULL of
   the excess).
6. `report(train_loss=, val_loss=)` moves dropout, label smoothing and weight decay by the gap (regularization.py).

A step with a gradient that is NaN, infinite or too long for float32 is not taken, and nothing of the state moves. Nor
does it where all gradients are 0: the usual length would shrink, and later gradients would be clipped to it.

adaptive_reference.py is the same in plain loops; tests hold the two equal. A step reads from the device once. Small
tensors are worked on together (stacks.py), large ones in pieces that stay in a CPU's cache (directions.py). With
sharded parameters (FSDP2) their sums are all-reduced, so every rank takes the same rate, and skips the same steps;
sharded matrices get no eigenbases. So are those of the processes of a `group` that each hold other tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.optim.optimizer import StateDict

from deepseek.errors import InputError
from deepseek.optimizers.config import (
    BETA1,
    BETA2,
    BETA_ALIGNMENT,
    BETA_NORM,
    BOUND_FROM_STEP,
    BOUND_GROWTH,
    BOUND_PULL,
    BOUND_RATIO,
    CLIP_FROM_STEP,
    CLIP_RATIO,
    INITIAL_LR,
    MAX_RATE,
    MAX_STEP_RATIO,
    MIN_LENGTH,
    MIN_RMS,
    RATE_ROOM,
    TRUST_HALF_LIFE_STEPS,
    AdaptiveConfig,
    Count,
    ParameterGroup,
    check_total_steps,
    cooldown_share,
    decay_share,
    max_log_rate_change,
    noise_share,
    threshold_at,
    trust_share,
)  # fmt: skip
from deepseek.optimizers.directions import (
    apply_directions,
    cache_sized_pieces,
    count_free_steps,
    free_steps_of,
    update_directions,
)
from deepseek.optimizers.regularization import Regularization
from deepseek.optimizers.saved_state import NUM_CONTROLS, cast_moments, check_state, complete_group, start_group
from deepseek.optimizers.schedules import held_change, schedule_share
from deepseek.optimizers.skipped_steps import warn_of_end, warn_of_skipped, warn_of_zeros
from deepseek.optimizers.slices import (
    ParameterSlice,
    Signals,
    Slices,
    local_part,
    max_over_group,
    split_slice,
    stack_scalars,
    sum_over_group,
    sum_over_shards,
)  # fmt: skip
from deepseek.optimizers.stacks import copy_pooled_state


class AdaptiveOptimizer(torch.optim.Optimizer):
    """Finds its own learning rate and regularization; see the module for the algorithm and its sources.

    `params`: parameters or groups, as of any torch optimizer. Each group may have its own values of the arguments.
    InputError for complex parameters, sparse gradients and arguments out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        initial_lr: float = INITIAL_LR,
        lr_decay_rate: float = 0.95,
        dynamic_threshold: float = 0.8,
        weight_decay: float = 0.2,
        trust_steps: float = TRUST_HALF_LIFE_STEPS,
        *,
        lr: float | None = None,
        betas: tuple[float, float] = (BETA1, BETA2),
        total_steps: int | None = None,
        foreach: bool = True,
        state_dtype: torch.dtype | None = None,
        group: ProcessGroup | None = None,
    ) -> None:
        """`lr`: another name of `initial_lr`, as in torch. `betas`: decays of Adam's two moments, of which schedulers
        vary the first; the second moment remembers a third of all steps at least. `total_steps`: the length of the
        training, where it is known: in its last COOLDOWN the rate falls to 0 (see the property). `foreach`: tensors
        together (fewer kernels) instead of one by one (less memory). `state_dtype`: torch.bfloat16 keeps means and
        directions of large tensors in that, 2.5 copies of them in place of 4 (saved_state.py). `group`: processes that
        each hold other tensors of one model, as the stages of a pipeline do: they take one rate, and all call `step`.
        """
        if lr is not None:
            if initial_lr not in (INITIAL_LR, lr):
                raise InputError(
                    f"lr is {lr} and initial_lr is {initial_lr}",
                    expected="one of them: they are two names of one rate",
                    fix="leave lr out",
                )
            initial_lr = lr
        config = AdaptiveConfig(initial_lr, lr_decay_rate, dynamic_threshold, weight_decay, trust_steps, betas)
        options = {"foreach": foreach, "state_dtype": state_dtype}
        super().__init__(params, {"lr": initial_lr, **asdict(config), **options})
        self._regularization = Regularization()
        self._group = group
        self._slices = Slices()
        self.total_steps = total_steps

    def add_param_group(self, param_group: ParameterGroup) -> None:
        """As of any torch optimizer. A group that names an "lr" or an "initial_lr" starts from it."""
        options = dict(param_group)
        if "lr" in options or "initial_lr" in options:
            options["lr"] = options["initial_lr"] = options.get("initial_lr", options.get("lr"))
        super().add_param_group(options)
        group = self.param_groups[-1]
        AdaptiveConfig.of(group)
        for param in group["params"]:
            if param.is_complex():
                raise InputError(
                    f"a parameter of shape {tuple(param.shape)} is complex",
                    expected="real parameters",
                    fix="give its real and imaginary parts: torch.view_as_real(parameter)",
                )
        start_group(group, self.param_groups[0], local_part(group["params"][0]).device)

    @property
    def total_steps(self) -> int | None:
        """The length of the training, or None where it is not known. It may be set at any time, also to what is longer
        than before: the rate then is what it should be there. Past the end the rate stays as low as in the last step,
        and a warning says so. InputError for anything but a whole number above 0, or None."""
        total_steps: int | None = self.param_groups[0]["total_steps"]
        return total_steps

    @total_steps.setter
    def total_steps(self, total_steps: int | None) -> None:
        check_total_steps(total_steps)
        for group in self.param_groups:
            group["total_steps"] = total_steps
        self._cool_down()

    def expect_steps(self, num_steps: int) -> None:
        """Set `total_steps` so that this many are to come. InputError for less than 1."""
        check_total_steps(num_steps)
        self.total_steps = self.param_groups[0]["num_calls"] + num_steps

    def _cool_down(self) -> None:
        """Set what the end of the training leaves of the next step's rate."""
        for group in self.param_groups:
            group["cooldown"] = cooldown_share(self.param_groups[0]["num_calls"], self.total_steps)

    @property
    def num_skipped_steps(self) -> int:
        """Steps that were not taken, for a gradient that was NaN, infinite or too long for float32."""
        return int(self.param_groups[0]["num_skipped"])

    def get_current_lr(self) -> float:
        """The learning rate of the next step, of the first group: what was found, or the rate that trust allows the
        tensor with the widest bound, where that is lower. Of a pipeline's stages each knows the bounds of its own."""
        group = self.param_groups[0]
        unbounded = float(group["lr"]) * float(group["cooldown"]) * math.exp(group["control"][0].item())
        limit = group["limits"].max().item() * schedule_share(group)
        return min(unbounded, limit) if limit > 0 else unbounded

    def weight_decay_of(self, group: ParameterGroup, steps: Count) -> Count:
        """The decay per unit of rate after so many steps: the group's own fades, what `report` adds does not."""
        share: Count = decay_share(steps) + (self._regularization.decay_factor - 1)
        return share * float(group["weight_decay"])

    def __getstate__(self) -> StateDict:
        own = {"_regularization": self._regularization, "_group": self._group, "_slices": Slices()}
        return {**super().__getstate__(), **own}  # what a copy takes along

    def attach(self, model: nn.Module) -> Regularization:
        """Let `report` move the dropout of a model. Returns the handle that knows the label smoothing."""
        self._regularization.attach(model)
        return self._regularization

    def report(self, *, train_loss: float, val_loss: float) -> Regularization:
        """Tell how training goes; dropout, label smoothing and weight decay follow the gap. InputError for NaN."""
        self._regularization.report(train_loss, val_loss)
        return self._regularization

    def state_dict(self) -> StateDict:
        """As of any torch optimizer, with what `report` has seen as "regularisation"."""
        whole = super().state_dict()
        states = {
            key: copy_pooled_state(state) if isinstance(state, dict) else state for key, state in whole["state"].items()
        }
        return whole | {"state": states, "regularisation": self._regularization.state_dict()}

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Take up what state_dict() gave. InputError when another optimizer made it."""
        check_state(state_dict)
        total_steps, dtype_names = self.total_steps, [group["state_dtype"] for group in self.param_groups]
        self._slices = Slices()
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "regularisation"})
        for group, dtype_name in zip(self.param_groups, dtype_names, strict=True):
            complete_group(group, local_part(group["params"][0]).device)
            group["state_dtype"] = dtype_name  # this optimizer's, whatever it was in the file
            cast_moments(group, self.state)
        if self.total_steps is None:  # else the checkpoint's counts, as its rate does
            self.total_steps = total_steps
        self._regularization.load_state_dict(state_dict.get("regularisation", {}))

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step. With a closure: evaluates the loss and its gradients first, and returns the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        each = (self._slices.of(index, group, self.state) for index, group in enumerate(self.param_groups))
        slices = [part for part in each if part is not None]
        head = self.param_groups[0]
        head["num_calls"] += 1
        if slices or self._group is not None:
            signals = self._read_signals(slices, head["control"])
            if not (math.isfinite(signals.dot) and math.isfinite(signals.square)):
                head["num_skipped"] += 1
                warn_of_skipped(head["num_skipped"], slices)
            elif signals.square == 0:
                head["num_zero"] += 1
                warn_of_zeros(head["num_zero"])
            else:
                head["num_zero"] = 0
                self._advance(slices, signals)
        warn_of_end(head["num_calls"], self.total_steps)
        self._cool_down()
        return loss

    def _advance(self, slices: list[ParameterSlice], signals: Signals) -> None:
        """Take a step with gradients that are finite and not all 0."""
        head = self.param_groups[0]
        step = head["step"] = head["step"] + 1
        clip = self._control(signals, head["control"], step)
        for whole_slice in slices:
            for part in split_slice(whole_slice):
                lengths = update_directions(part, clip)
                self._move(part, head["control"], step, lengths)

    def _read_signals(self, slices: list[ParameterSlice], control: Tensor) -> Signals:
        """All that a step waits for, at once. Gives the slices the free steps of their tensors."""
        counts = [free_steps_of(part).to(control.device) for part in slices]
        sums, widest = self._sums(slices, control), self._find_widest(control)
        values = torch.cat([sums, widest, control, *counts]).tolist()
        begin = 5 + NUM_CONTROLS
        for part in slices:
            part.free_steps = values[begin : begin + len(part.params)]
            begin += len(part.params)
        dot, square, length, limit, most_free_steps = values[:5]
        return Signals(dot, square, length, limit, most_free_steps, values[5 : 5 + NUM_CONTROLS])

    def _sums(self, slices: list[ParameterSlice], control: Tensor) -> Tensor:
        """<g, u>, |g|^2 and |u|^2 over all tensors and ranks (3,): of the gradients and the directions taken last."""
        dots: list[Tensor] = []
        norms: list[Tensor] = []
        grads = [grad for part in slices for grad in (*part.single, *part.rows)]
        directions = [direction for part in slices for direction in part.layout.directions]
        for _, (pieces, taken) in cache_sized_pieces(grads, directions):
            for piece, step in zip(pieces, taken, strict=True):
                dots.append(torch.dot(piece.reshape(-1), step.reshape(-1).to(piece.dtype)))
            norms += torch._foreach_norm(pieces)
        if grads:  # squares in float32: float16 has none above 65,504
            norm = torch.linalg.vector_norm(stack_scalars(norms, control.device))
            sums = torch.stack([stack_scalars(dots, control.device).sum(), norm.square()])
        else:
            sums = control.new_zeros(2)
        sums = sum_over_shards(sums, [param for part in slices for param in part.whole])
        lengths = [torch.linalg.vector_norm(part.read("norms")).to(control.device) for part in slices]
        length = torch.stack(lengths).square().sum() if lengths else control.new_zeros(())
        return sum_over_group(torch.cat([sums, length[None]]), self._group)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # its numbers are plain
    def _control(self, signals: Signals, control: Tensor, step: int) -> float:
        """Move the rate by what the last step achieved. Returns by how much gradients are scaled down."""
        norm, (log_rate, alignment, square, usual_norm) = math.sqrt(signals.square), signals.control
        clip = 1.0
        if step > CLIP_FROM_STEP:
            clip = min(CLIP_RATIO * usual_norm / max(norm, 1e-30), 1.0)
        usual_norm = norm if step == 1 else usual_norm + (norm * clip - usual_norm) * (1 - BETA_NORM)
        head = self.param_groups[0]
        head["peak_norm"] = max(head["peak_norm"], usual_norm)
        noise = noise_share(usual_norm, head["peak_norm"])
        if step > 1:
            cosine = signals.dot / max(norm * math.sqrt(signals.length), 1e-30)
            alignment += (cosine - alignment) * (1 - BETA_ALIGNMENT)
            square += (cosine**2 - square) * (1 - BETA_ALIGNMENT)
            correction = 1 - BETA_ALIGNMENT ** (step - 1)
            ratio = 1 + alignment / correction / max(math.sqrt(square / correction), 1e-30)
            threshold = threshold_at(step, head["dynamic_threshold"], head["total_steps"], signals.free_steps, noise)
            change = held_change(min(max(ratio - threshold, -1.0), 1.0), schedule_share(head))
            if change > 0 and math.exp(log_rate) >= RATE_ROOM * signals.limit:
                change = 0.0  # no tensor would take a longer step
            # OneCycleLR and CyclicLR write an initial_lr of their own and raise "lr" above it.
            top = math.log(max(MAX_RATE / max(head["initial_lr"], float(head["lr"])), 1.0))
            log_rate = min(log_rate + change * max_log_rate_change(step, head["lr_decay_rate"]), top)
        control.copy_(torch.tensor([log_rate, alignment, square, usual_norm]))
        return clip

    def _find_widest(self, control: Tensor) -> Tensor:
        """Of all tensors (2,): the largest factor of the rate that trust let any take, and the most steps that no bound
        cut."""
        pairs = [
            torch.stack([group["limits"].max() / group["peak_lr"], group["free_steps"].max()]).to(control.device)
            for group in self.param_groups
        ]
        return max_over_group(pairs[0] if len(pairs) == 1 else torch.stack(pairs).amax(0), self._group)

    # Counts of steps are plain numbers here: each would be compiled for itself.
    @torch.compiler.disable(recursive=False)  # type: ignore[untyped-decorator, no-untyped-call]
    def _move(self, part: ParameterSlice, control: Tensor, step: int, lengths: list[Tensor]) -> None:
        """Take the directions, each within its bounds. `lengths`: of the directions, as this rank has them."""
        group, at = part.group, part.at
        norms = stack_scalars([*torch._foreach_norm(part.params), *lengths], at.device).view(2, -1)
        squares = sum_over_shards(norms.square(), part.whole)
        sizes = part.layout.sizes
        weight, length = (squares[0] / sizes).sqrt(), (squares[1] / sizes).sqrt()
        part.write("norms", squares[1].sqrt())
        rate = group["lr"] * group["cooldown"] * control[0].exp().to(at.device)
        steps = part.steps
        limits = (
            MAX_STEP_RATIO
            * trust_share(steps, group["trust_steps"], group["total_steps"])
            * weight.clamp_min(MIN_RMS)
            / length.clamp_min(MIN_LENGTH)
        )
        part.write("limits", limits)
        rates = torch.minimum(rate, limits * schedule_share(group))
        are_cut = rates < rate
        count_free_steps(part, are_cut, step)
        keeps = 1 - rates * self.weight_decay_of(group, steps)
        if step >= BOUND_FROM_STEP:
            is_settled = (control[1].to(at.device) <= 0) | are_cut
            bounds = part.read("bounds")
            bounds = torch.where(part.layout.matrices & is_settled & bounds.isinf(), weight * BOUND_RATIO, bounds) * (
                1 + BOUND_GROWTH
            )
            part.write("bounds", bounds)
            keeps = keeps * (1 - BOUND_PULL * (1 - bounds / weight.clamp_min(1e-30)).clamp_min(0))
        apply_directions(part, keeps, rates)
