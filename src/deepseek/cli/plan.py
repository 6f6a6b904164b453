"""`deepseek plan`: how to split a decoder over devices, what that takes in memory and time, and on what assumptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from deepseek.cli.support import output
from deepseek.contracts import JsonObject
from deepseek.look.numbers import count, duration, number, size

if TYPE_CHECKING:
    from rich.table import Table

    from deepseek.engines.parallel.cost import Forecast
    from deepseek.engines.parallel.plan import Plan

DTYPES = ("fp32", "bf16", "fp16", "fp8", "int8", "int4")
MAX_OTHERS = 8

EPILOG = """\b
Examples:
  deepseek plan 100b --gpus H100x8
  deepseek plan llama-3.1-70b --gpus H100x4 --dtype fp8 --batch 64 --context 8192
  deepseek plan models/Mixtral-8x7B --gpus A100x8 --dtype bf16 --goal throughput --json
  deepseek plan gpt2/config.json --gpus cpu --dtype fp32 --batch 1 --context 512
"""


@click.command(epilog=EPILOG, short_help="Split a model over devices: memory, latency, tokens a second.")
@click.argument("model")
@click.option("--gpus", required=True, metavar="NAMExN", help="Devices, such as H100x8, or cpu: this machine.")
@click.option("--batch", type=click.IntRange(1, 1 << 20), default=8, show_default=True, help="Sequences at once.")
@click.option("--context", type=click.IntRange(2, 1 << 24), default=4096, show_default=True,
              help="Tokens of a sequence: its prompt and what is generated.")  # fmt: skip
@click.option("--new-tokens", type=click.IntRange(1, 1 << 24), help="Generated out of the context.  "
              "[default: 256, at most half of the context]")  # fmt: skip
@click.option("--dtype", type=click.Choice(DTYPES), default="bf16", show_default=True, help="Of the weights.")
@click.option("--goal", type=click.Choice(("latency", "throughput")), default="latency", show_default=True,
              help="What the split is chosen by.")  # fmt: skip
@output.json_option
def command(
    model: str, gpus: str, batch: int, context: int, new_tokens: int | None, dtype: str, goal: str, as_json: bool
) -> None:
    """Say how to split MODEL over devices: a Hugging Face folder of a decoder, its config.json, or a name such as 100b,
    llama-2-70b, llama-3.1-405b, gpt-3-175b, mixtral-8x7b.

    A forecast from first principles; nothing is loaded. All sequences start at once. Exit code 3: it does not fit.
    """
    from deepseek.engines.parallel.cost import Job
    from deepseek.engines.parallel.devices import parse_fleet
    from deepseek.engines.parallel.plan import choose_split
    from deepseek.engines.parallel.shape import read_shape

    new = min(256, context // 2) if new_tokens is None else new_tokens
    if new >= context:
        raise click.BadParameter(f"{new} is not below the context of {context}", param_hint="--new-tokens")
    plan = choose_split(read_shape(model), parse_fleet(gpus), Job(batch, context - new, new, dtype), goal)
    output.warn(plan.warnings)
    output.emit(to_json(plan), as_json, lambda: report(plan))


def to_json(plan: Plan) -> JsonObject:
    """The JSON object. Bytes are per device, the fullest one; times of the whole batch at once."""
    shape = plan.shape
    return {
        "model": shape.name,
        "num_parameters": shape.num_parameters,
        "num_active_parameters": shape.active_layer_parameters + shape.embedding_parameters + shape.head_parameters,
        "devices": str(plan.fleet),
        "goal": plan.goal,
        **asdict(plan.job),
        **_forecast_to_dict(plan.best),
        "parts_ms": _parts_ms(plan),
        "alternatives": [{**_forecast_to_dict(other.cost), "why_not": other.why} for other in plan.others],
        "assumptions": [asdict(assumption) for assumption in _assumptions(plan)],
        "warnings": list(plan.warnings),
    }


def _parts_ms(plan: Plan) -> dict[str, float]:
    """Milliseconds of each part of a token."""
    return {name.removesuffix("_s"): 1e3 * value for name, value in asdict(plan.best.token).items()}


def _forecast_to_dict(cost: Forecast) -> JsonObject:
    memory = cost.memory
    return {
        "split": asdict(cost.split),
        "memory_bytes": {
            "weights": memory.weights, "kv": memory.kv, "activations": memory.activations, "total": memory.total,
            "usable": memory.usable,
        },
        "fits": memory.fits,
        "token_ms_p50": 1e3 * cost.token_s,
        "first_token_ms": 1e3 * cost.first_token_s,
        "tokens_per_s": cost.tokens_per_s,
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Assumption:
    """A figure that a forecast stands on."""

    what: str
    value: str  # with its unit
    source: str


def _assumptions(plan: Plan) -> list[Assumption]:
    """The data sheet of the device, and the efficiencies that are assumed of it."""
    from deepseek.engines.parallel.devices import EFFICIENCY, EFFICIENCY_SOURCES, NETWORK_NOTE

    device = plan.fleet.device
    peak = device.flops_8 if plan.job.dtype == "fp8" else device.flops_16
    sheet = [
        ("memory", size(device.memory_bytes)),
        ("memory bandwidth", f"{size(device.memory_bandwidth)}/s"),
        ("FLOP/s, dense", f"{number(peak / 1e12)} T"),
        (f"link in a machine of {device.per_machine}: {device.link}", f"{size(device.link_bandwidth)}/s one way"),
    ]
    rows = [Assumption(what, value, device.source) for what, value in sheet]
    network = f"{size(device.network_bandwidth)}/s per device"
    rows.append(Assumption("network between machines", network, NETWORK_NOTE))
    used = {
        "memory": number(EFFICIENCY.memory),
        "compute": number(EFFICIENCY.compute),
        "link": number(EFFICIENCY.link),
        "overlap": "0",
        "kernel_s": duration(EFFICIENCY.kernel_s),
        "kernels_per_layer": str(EFFICIENCY.kernels_per_layer),
        "link_latency_s": f"{duration(EFFICIENCY.link_latency_s)} and {duration(EFFICIENCY.network_latency_s)}",
        "usable": number(EFFICIENCY.usable),
    }
    named = {
        "memory": "share of the bandwidth reached", "compute": "share of the FLOP/s reached",
        "link": "share of the link reached", "overlap": "share of reading that overlaps computing",
        "kernel_s": "start and end of a kernel", "kernels_per_layer": "kernels in a layer",
        "link_latency_s": "latency of a message", "usable": "share of the memory used",
    }  # fmt: skip
    return rows + [Assumption(named[key], value, EFFICIENCY_SOURCES[key]) for key, value in used.items()]


def report(plan: Plan) -> list[object]:
    """The answer in one sentence, what it takes, what else there was, and what was assumed."""
    best, memory = plan.best, plan.best.memory
    sentence = (
        f"{plan.shape.name} ({number(plan.shape.num_parameters / 1e9)} billion parameters, {plan.job.dtype}) on "
        f"{plan.fleet}: {best.split}, {duration(best.token_s)} a token, {count(best.tokens_per_s)} tokens/s"
    )
    memory_table = output.fact_table(
        [
            ("memory per device", f"{size(memory.total)} of {size(memory.usable)} usable"),
            ("  weights", size(memory.weights)),
            ("  keys and values", size(memory.kv)),
            ("  activations", size(memory.activations)),
            ("first token (whole batch)", duration(best.first_token_s)),
            ("each token (p50)", duration(best.token_s)),
            *[(f"  {name.replace('_', ' ')}", f"{value:.3f} ms") for name, value in _parts_ms(plan).items() if value],
            ("tokens/s, prompts included", count(best.tokens_per_s)),
        ]
    )
    parts: list[object] = [sentence, "", memory_table]
    if plan.others:
        parts += ["", _alternatives_table(plan)]
    if len(plan.others) > MAX_OTHERS:
        parts.append(f"and {len(plan.others) - MAX_OTHERS} more: --json lists them all")
    return [*parts, "", _assumptions_table(_assumptions(plan))]


def _alternatives_table(plan: Plan) -> Table:
    table = output.make_table("not taken", "memory", "a token", "tokens/s", "why", value_justify="left")
    for other in plan.others[:MAX_OTHERS]:
        cost = other.cost
        table.add_row(
            str(cost.split), size(cost.memory.total), duration(cost.token_s), count(cost.tokens_per_s), other.why
        )
    return table


def _assumptions_table(assumptions: Sequence[Assumption]) -> Table:
    table = output.make_table("assumed", "", "source", value_justify="left")
    for assumption in assumptions:
        table.add_row(assumption.what, assumption.value, assumption.source)
    return table
