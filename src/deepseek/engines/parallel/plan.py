"""Which split: every one that the devices allow, forecast, and the choice among those that fit.

plan = choose_split(shape, parse_fleet("H100x8"), Job(batch=8, prompt=3840, new=256, dtype="fp8"))
plan.best.split, plan.best.token_s, [(each.cost.split, each.why) for each in plan.others]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from deepseek.engines.parallel.cost import DTYPES, Forecast, Job, Split, forecast
from deepseek.engines.parallel.devices import MAX_DEVICES, Fleet
from deepseek.engines.parallel.shape import DecoderShape
from deepseek.errors import CheckError, InputError
from deepseek.look.numbers import duration, number, size

GOALS = ("latency", "throughput")
#: Forecasts closer than this count as equal, and the other goal decides.
TIE_MARGIN = 0.03
MAX_TOKENS = 1 << 30


@dataclass(frozen=True)
class RejectedSplit:
    """A split that was not chosen, and why."""

    cost: Forecast
    why: str


@dataclass(frozen=True)
class Plan:
    """The chosen split, and the others with what they lost by."""

    shape: DecoderShape
    fleet: Fleet
    job: Job
    goal: str
    best: Forecast
    others: tuple[RejectedSplit, ...]
    warnings: tuple[str, ...]


def choose_split(shape: DecoderShape, fleet: Fleet, job: Job, goal: str = "latency") -> Plan:
    """Choose the split of lowest token latency, or of most tokens per second, over all devices of the fleet.

    Raises InputError for a job that no split can run, and CheckError (exit code 3) where nothing fits, which says by
    how much and what would fit.
    """
    check_job(shape, fleet, job)
    costs = [forecast(shape, fleet, job, split) for split in possible_splits(shape, fleet, job)]
    fitting = [cost for cost in costs if cost.memory.fits]
    if not fitting:
        _raise_nothing_fits(shape, fleet, job, min(costs, key=lambda cost: cost.memory.total))
    best = _choose_best(fitting, goal)
    rejected = sorted(
        (cost for cost in costs if cost is not best), key=lambda cost: (not cost.memory.fits, cost.token_s)
    )
    others = tuple(RejectedSplit(cost, _rejection_reason(cost, best, goal)) for cost in rejected)
    return Plan(shape, fleet, job, goal, best, others, tuple(_warnings(shape, fleet, job, best)))


def possible_splits(shape: DecoderShape, fleet: Fleet, job: Job) -> Iterator[Split]:
    """Yield the splits that use every device: tensors by a divisor of the heads, no more stages than layers, no replica
    without a sequence.

    >>> from deepseek.engines.parallel.devices import parse_fleet
    >>> from deepseek.engines.parallel.shape import read_shape
    >>> [str(each) for each in possible_splits(read_shape("100b"), parse_fleet("H100x2"), Job(8, 100, 20, "fp8"))]
    ['TP 1 x PP 1 x 2 replicas', 'TP 1 x PP 2', 'TP 2 x PP 1']
    """
    for tp in _divisors(fleet.count):
        if shape.num_heads % tp:
            continue
        for pp in _divisors(fleet.count // tp):
            replicas = fleet.count // tp // pp
            if pp <= shape.num_layers and replicas <= job.batch:
                yield Split(tp, pp, replicas)


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


def check_job(shape: DecoderShape, fleet: Fleet, job: Job) -> None:
    """Raise InputError for a job that cannot be, whatever the memory."""
    for name, value in (("batch", job.batch), ("prompt", job.prompt), ("new tokens", job.new)):
        if not 1 <= value <= MAX_TOKENS:
            raise InputError(f"{name} is {value}", expected=f"1 to {MAX_TOKENS}", fix="give such a number")
    if job.dtype not in DTYPES:
        raise InputError(f"there is no type {job.dtype!r}", expected=", ".join(DTYPES), fix="take one of these")
    if job.dtype == "fp8" and not fleet.device.flops_8:
        raise InputError(
            f"{fleet.device.name} has no units for fp8", expected="bf16, int8 or int4 on it",
            fix="give --dtype int8, or devices such as H100",
        )  # fmt: skip
    if shape.max_context and job.prompt + job.new > shape.max_context:
        raise InputError(
            f"{job.prompt + job.new} tokens in a sequence are more than {shape.name} was trained for",
            expected=f"at most {shape.max_context}", fix=f"give --context {shape.max_context}",
        )  # fmt: skip
    if next(possible_splits(shape, fleet, job), None) is None:
        raise InputError(
            f"{fleet} cannot share out {shape.num_heads} heads and {shape.num_layers} layers for {job.batch} sequences",
            expected="a number of devices that is a divisor of the heads times at most the layers",
            fix="give a power of two, such as 8, or a larger --batch",
        )


def _choose_best(fitting: list[Forecast], goal: str) -> Forecast:
    if goal == "latency":
        bound = min(cost.token_s for cost in fitting) * (1 + TIE_MARGIN)
        return max((cost for cost in fitting if cost.token_s <= bound), key=lambda cost: cost.tokens_per_s)
    bound = max(cost.tokens_per_s for cost in fitting) * (1 - TIE_MARGIN)
    return min((cost for cost in fitting if cost.tokens_per_s >= bound), key=lambda cost: cost.token_s)


def _rejection_reason(cost: Forecast, best: Forecast, goal: str) -> str:
    """Why a split was not chosen: what it lost by, and the largest thing that it spends more on."""
    if not cost.memory.fits:
        return f"does not fit: {size(cost.memory.total - cost.memory.usable)} over on a device"
    if goal == "throughput":
        lost = f"{number(cost.tokens_per_s / best.tokens_per_s)} times the tokens/s"
    else:
        lost = f"{number(cost.token_s / best.token_s)} times the time of a token"
    names = {
        "weights_s": "reading weights", "compute_s": "computing", "attention_s": "reading keys and values",
        "values_s": "values between matrices", "kernels_s": "starting kernels", "reduce_s": "all-reduces",
        "pipeline_s": "messages between stages",
    }  # fmt: skip
    more = {name: getattr(cost.token, name) - getattr(best.token, name) for name in names}
    worst = max(more, key=lambda name: more[name])
    if more[worst] <= 0:
        return lost
    return f"{lost}: {duration(more[worst])} more for {names[worst]}"


def _raise_nothing_fits(shape: DecoderShape, fleet: Fleet, job: Job, least: Forecast) -> None:
    memory = least.memory
    raise CheckError(
        f"{shape.name} in {job.dtype} with {job.batch} sequences of {job.prompt + job.new} tokens does not fit on "
        f"{fleet}: {least.split} needs {size(memory.total)} on a device (weights {size(memory.weights)}, keys and "
        f"values {size(memory.kv)}, activations {size(memory.activations)}), {size(memory.total - memory.usable)} over",
        expected=f"at most {size(memory.usable)} on each",
        fix="; or ".join(_remedies(shape, fleet, job)) or "take a smaller model, or devices with more memory",
    )


def _remedies(shape: DecoderShape, fleet: Fleet, job: Job) -> Iterator[str]:
    """Yield single changes of the job or the fleet that would fit."""
    count = fleet.count
    while count < MAX_DEVICES:
        count = 2 * count
        if _any_split_fits(shape, replace(fleet, count=count), job):
            yield f"give --gpus {fleet.device.name}x{count}"
            break
    for dtype in ("fp8", "int4") if fleet.device.flops_8 else ("int8", "int4"):
        if DTYPES[dtype][0] < job.weight_bytes and _any_split_fits(shape, fleet, replace(job, dtype=dtype)):
            yield f"--dtype {dtype}"
            break
    batch = job.batch
    while batch > 1:
        batch //= 2
        if _any_split_fits(shape, fleet, replace(job, batch=batch)):
            yield f"--batch {batch}"
            break


def _any_split_fits(shape: DecoderShape, fleet: Fleet, job: Job) -> bool:
    return any(forecast(shape, fleet, job, split).memory.fits for split in possible_splits(shape, fleet, job))


def _warnings(shape: DecoderShape, fleet: Fleet, job: Job, best: Forecast) -> Iterator[str]:
    if best.split.tp > shape.num_kv_heads:
        yield f"{best.split.tp} devices share {shape.num_kv_heads} heads of keys, so that they hold copies of the cache"
    if shape.num_layers % best.split.pp:
        yield f"{shape.num_layers} layers in {best.split.pp} stages are uneven: the fullest sets the pace"
    if fleet.device.name == "MI300X":
        yield "an MI300X has measured 0.51 to 0.60 of its bf16 FLOP/s, not 0.70: its time to the first token is longer"
    if job.dtype in ("int8", "int4"):
        yield f"{job.dtype} is counted as weights alone: products run at the speed of bf16"
