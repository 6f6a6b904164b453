"""What AdaptiveOptimizer may vary, the constants of its control and its state: shared with the reference twin.

The constants were chosen on four tasks of steps to a target (a character model, a table, a graph, an autoencoder) and
fourteen development tasks; docs/log.md says how, and what lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from deepseek.errors import InputError

#: What an optimizer of torch keeps of one parameter: `step`, `eigen` (whether it has eigenbases), `exp_avg`,
#: `exp_avg_sq` and `direction`, and for each side with an eigenbasis `left`, `left_basis`, `right`, `right_basis`.
ParameterState = dict[str, Any]
#: A group of parameters as torch has it: `params`, the arguments, and the group's own control.
ParameterGroup = dict[str, Any]

INITIAL_LR = 1e-3
BETA1, BETA2, EPS = 0.9, 0.99, 1e-8  # of Adam's moments
HALF_EPS = 1e-3  # EPS of float16, which has no squares of gradients below .002: a division by 0 made weights NaN
BETA_FACTORS = 0.95  # of the Kronecker factors
EAGER_STEPS, REFRESH_PERIOD_STEPS = (
    10,
    5,
)  # steps before which eigenbases are refreshed at each, and the period after that
SPECTRUM_SHIFT = 1e-3  # of the factors' spectrum before a refresh, in mean eigenvalues
MAX_SIDE_LENGTH, MAX_ASPECT = 128, 8  # of a side that gets an eigenbasis; and relative to the other side
BETA_ALIGNMENT = 0.9  # of the mean hypergradient
BOOST, BOOST_STEPS = 9.0, 40.0  # how much faster the rate may change at first, and when half of that is gone
MAX_RATE = 0.1
RATE_ROOM = 4.0  # how far the found rate rises above the widest bound, which moves with the lengths of directions
MAX_STEP_RATIO, TRUST_HALF_LIFE_STEPS = (
    0.1,
    50.0,
)  # largest step of a tensor relative to its scale, and when half of it is gone by default
DECAY_HALF_LIFE_STEPS = 400.0  # when half of the weight decay is gone
COOLDOWN = 0.4  # share of a training of known length in which the rate falls to 0
THRESHOLD_SHARE, THRESHOLD_STEPS = 0.5, 400.0  # what is left of the threshold there; when half of the rest is gone
NOISE_FROM, NOISE_FULL = 0.6, 0.9  # of their largest mean norm: below it gradients vanish; from here on they stay
NOISE_SPEEDUP = 4.0  # THRESHOLD_STEPS are divided by it where gradients stay
TRUST_ROOT_STEPS = 400.0  # from when on trust there falls as the root of the steps
SLOW_WEIGHT, SLOW_SHARE = 4.0, 9.0  # of the slow mean of directions, and that of all steps over which it is one: 1 / 9
SLOW_FROM_STEP, SLOW_RAMP_STEPS = 200, 500.0  # from when on free steps count, and how many give it its whole weight
SLOW_CAUTION = 0.5  # share of the way from the threshold to 1 that it goes with the slow mean's weight
SQUARE_SHARE = 3.0  # of a gradient's square in their mean after t steps: 3 / t, where that is less than 1 - beta2
MIN_LENGTH = 0.1  # root mean square of a direction below which its bound is no wider
MIN_RMS = 0.03  # of a tensor's scale
MIN_SCALE = 1e-4  # of Adam's scales in the eigenbases, relative to their root mean square
BOUND_RATIO, BOUND_FROM_STEP, BOUND_GROWTH, BOUND_PULL = 1.2, 50, 1e-3, 0.2  # of the size of a matrix
FREE_SHARE, HELD_CUT = 0.9, -0.5  # of a schedule's peak from which the rate is found; what cuts it below that
PIECE_ELEMENTS = (
    2**15
)  # elements that a CPU works at before it goes on to the next: five such arrays fit into its cache
CLIP_RATIO, BETA_NORM, CLIP_FROM_STEP = (
    4.0,
    0.95,
    20,
)  # gradients above CLIP_RATIO times their usual norm are scaled down


@dataclass(frozen=True)
class AdaptiveConfig:
    """The arguments, checked."""

    initial_lr: float = INITIAL_LR  # above 0; wrong by 100 times either way is found and mended
    lr_decay_rate: float = 0.95  # factor by which the rate changes in a step at most, between 0 and 1
    dynamic_threshold: float = 0.8  # ratio of achieved to predicted decrease under which the rate is cut, 0 to 1
    weight_decay: float = 0.2  # decoupled, per unit of rate, at least 0
    trust_steps: float = (
        TRUST_HALF_LIFE_STEPS  # when half of the largest step of a tensor is gone; thousands for long trainings
    )
    betas: tuple[float, float] = (BETA1, BETA2)  # decay of Adam's moments, 0 to below 1; schedulers cycle the first

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("initial_lr", 0 < self.initial_lr < math.inf, "a rate above 0, such as 0.001"),
            ("lr_decay_rate", 0 < self.lr_decay_rate < 1, "a factor between 0 and 1, such as 0.95"),
            ("dynamic_threshold", 0 <= self.dynamic_threshold <= 1, "a ratio from 0 to 1, such as 0.8"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more, such as 0.1"),
            ("trust_steps", 0 < self.trust_steps < math.inf, "a number of steps above 0, such as 50"),
            ("betas", _are_betas(self.betas), f"two decays from 0 to below 1, such as {(BETA1, BETA2)}"),
        ):
            if not good:
                raise InputError(
                    f"{name} is {getattr(self, name)}",
                    expected=expected,
                    fix=f"give {name} such a value, or leave it out",
                )

    @classmethod
    def of(cls, group: ParameterGroup) -> AdaptiveConfig:
        """The arguments that stand in a parameter group, checked."""
        return cls(**{field.name: group[field.name] for field in fields(cls)})


def _are_betas(betas: Any) -> bool:
    return isinstance(betas, tuple | list) and len(betas) == 2 and all(0 <= beta < 1 for beta in betas)


def check_total_steps(total_steps: int | None) -> int | None:
    """The length of a training as it is given. InputError for anything but a whole number above 0, or None."""
    if total_steps is not None and (
        isinstance(total_steps, bool) or not isinstance(total_steps, int) or total_steps < 1
    ):
        raise InputError(
            f"total_steps is {total_steps!r}", expected="the number of steps of the whole training, or None",
            fix="give len(loader) * num_epochs, or leave it out",
        )  # fmt: skip
    return total_steps


Count = TypeVar("Count", float, Any)  # a number, or a tensor of numbers


def noise_share(usual_norm: float, peak_norm: float) -> float:
    """How much of the gradients stays: 0 where they vanish, as they do in a net that learns its rows by heart, to 1
    where they are as long as ever, mostly noise. `usual_norm`, `peak_norm`: their mean norm of late, and its largest.

    >>> noise_share(1.0, 2.0), round(noise_share(1.5, 2.0), 3), noise_share(2.0, 2.0)
    (0.0, 0.5, 1.0)
    """
    return min(max((usual_norm / max(peak_norm, 1e-30) - NOISE_FROM) / (NOISE_FULL - NOISE_FROM), 0.0), 1.0)


def trust_share(step: Count, half: float = TRUST_HALF_LIFE_STEPS, total_steps: int | None = None) -> Count:
    """What is left of the first trust in a tensor after so many steps of its own. `half`: the steps after which half is
    gone. It falls as 1 / t; where the length of the training is known as 1 / sqrt(t) at last, since its end takes out
    the noise that longer steps bring.

    >>> trust_share(0), trust_share(50), trust_share(150), trust_share(1200, total_steps=2000)
    (1.0, 0.5, 0.25, 0.07692307692307693)
    """
    root = 1.0 if total_steps is None else (1 + step / TRUST_ROOT_STEPS) ** 0.5
    return 1 / (1 + step / half / root)


def threshold_at(
    step: float, dynamic_threshold: float, total_steps: int | None, free_steps: Count = 0.0, noise: float = 0.0
) -> Count:
    """The ratio under which the rate is cut, after so many steps. Where the length of the training is known, late steps
    may go farther past the minimum along their direction: its end makes up for it, the farther and the sooner, the more
    of the gradients stays (`noise`, see noise_share). Where it is not known, and the slow mean of directions joins them
    after so many steps that no bound cut, less far: it makes the way, and they the noise.

    >>> threshold_at(400, 0.8, None), round(threshold_at(0, 0.8, 2000), 3), round(threshold_at(400, 0.8, 2000), 3)
    (0.8, 0.8, 0.6)
    >>> threshold_at(900, 0.8, None, free_steps=500.0), threshold_at(100, 0.8, 2000, noise=1.0)
    (0.9, 0.4)
    """
    if total_steps is None:
        return dynamic_threshold + free_steps * ((1 - dynamic_threshold) * SLOW_CAUTION / SLOW_RAMP_STEPS)
    late: float = step / (step + THRESHOLD_STEPS * NOISE_SPEEDUP**-noise)
    return dynamic_threshold * (1 - (1 - THRESHOLD_SHARE * (1 - noise)) * late)


def cooldown_share(num_steps: int, total_steps: int | None) -> float:
    """What the end of a training of known length leaves of the rate after so many steps: 1 at first, then a line that
    would be 0 one step after the last. Past the end it stays where it was in the last step.

    >>> [round(cooldown_share(step, 10), 2) for step in (0, 4, 5, 7, 9, 10, 20)], cooldown_share(10**9, None)
    ([1.0, 1.0, 1.0, 0.75, 0.25, 0.25, 0.25], 1.0)
    """
    if total_steps is None:
        return 1.0
    length = max(1, round(COOLDOWN * total_steps))
    return min(1.0, max(1, total_steps - num_steps) / length)


def slow_share(step: Count) -> Count:
    """The share with which a tensor's direction enters the slow mean of them, after so many steps of its own.

    >>> slow_share(90), round(slow_share(9000), 6)
    (0.05, 0.00099)
    """
    return SLOW_SHARE / (step + 10 * SLOW_SHARE)


def slow_weight(free_steps: Count) -> Count:
    """What the slow mean of a tensor is multiplied by, after so many steps that its bound did not cut.

    >>> slow_weight(0), slow_weight(250.0), slow_weight(500.0)
    (0.0, 2.0, 4.0)
    """
    return free_steps * (SLOW_WEIGHT / SLOW_RAMP_STEPS)


def square_share(step: int, beta2: float) -> float:
    """The share with which the squares of gradients enter their mean in a tensor's step (from 1 on). It falls as in
    Adafactor (arXiv 1804.04235, section 7.2): what a training learned from is remembered when gradients vanish, as they
    do where rows are known by heart. A fixed memory would follow them, and noise would be steps of full length.

    >>> round(square_share(100, 0.99), 6), square_share(3000, 0.99)
    (0.01, 0.001)
    """
    return min(1 - beta2, SQUARE_SHARE / step)


def decay_share(step: Any) -> Any:
    """What is left of the weight decay of a tensor after so many steps of its own, a number or a tensor of them.

    >>> decay_share(0), decay_share(400), decay_share(4000) < 0.001
    (1.0, 0.5, True)
    """
    return 1 / (1 + (step * step / DECAY_HALF_LIFE_STEPS**2) * (step * step / DECAY_HALF_LIFE_STEPS**2))


def max_relative_step(step: float, half: float = TRUST_HALF_LIFE_STEPS, total_steps: int | None = None) -> float:
    """The largest step of a tensor relative to its size, as Adafactor's relative step (arXiv 1804.04235, section 8).

    >>> max_relative_step(0), max_relative_step(50)
    (0.1, 0.05)
    """
    share: float = trust_share(step, half, total_steps)
    return MAX_STEP_RATIO * share


def max_log_rate_change(step: int, lr_decay_rate: float) -> float:
    """The largest change of the logarithm of the rate in a step.

    >>> round(max_log_rate_change(1000, 0.95), 4)
    0.0513
    """
    return -math.log(lr_decay_rate) * (1 + BOOST * 2 ** (-step / BOOST_STEPS))


def eigenbasis_sides(rows: int, columns: int) -> list[tuple[int, str]]:
    """The axes of a matrix that are turned: of 2 to MAX_SIDE_LENGTH, and at most MAX_ASPECT times the other.

    The rows of a long table (an embedding) are seen at different times: mixing them would spread what one has learned.
    """
    sides = []
    for axis, side, length, other in ((0, "left", rows, columns), (1, "right", columns, rows)):
        if 1 < length <= MAX_SIDE_LENGTH and length <= MAX_ASPECT * other:
            sides.append((axis, side))
    return sides
