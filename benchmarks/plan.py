"""What `deepseek plan` forecasts against what others have measured: every row of the tables in plan_published.py.

    python benchmarks/plan.py [--quick] [--only CLAIM]

One set of factors for all rows (engines/parallel/devices.py). Bar: the cited figures of large models within a
fifth. Of each table the share of rows within a fifth is shown without a bar, and those that miss are
named: an engine that is slower than its hardware allows is no error of the forecast, and it is not hidden either.
"""

from __future__ import annotations

import sys
from statistics import median
from typing import Any

from plan_published import CONFIGS, TABLES, Row, Table
from result import claim, finish, options

from deepseek.engines.parallel.cost import Job, Split, forecast
from deepseek.engines.parallel.devices import parse_fleet
from deepseek.engines.parallel.shape import DecoderShape, read_shape, shape_from_config

BAR = 1.2
#: Claim -> table, row: large models over several devices. None of FasterTransformer's 175B: most rows are missed.
CITED = {
    "plan_70b_8xA100_gpt_fast": ("gpt-fast, A100", ("llama-2-70b", 8, 1, 5, 200, 62.50)),
    "plan_70b_2xH100_tensorrt_llm": ("TensorRT-LLM, H100", ("llama-2-70b", 2, 1024, 128, 128, 3214.0)),
    "plan_70b_4xA100_tensorrt_llm": ("TensorRT-LLM, A100", ("llama-2-70b", 4, 64, 2048, 2048, 289.0)),
    "plan_530b_16xA100_fastertransformer": ("FasterTransformer, 530B, TP 16", ("megatron-530b", 16, 16, 60, 20, 1868)),
    "plan_530b_24xA100_tp8_pp3": ("FasterTransformer, 530B, TP 8 x PP 3", ("megatron-530b", 8, 1, 60, 20, 2085)),
    "plan_70b_2xH100_token_held_out": ("held out: NIM 1.8, token", ("llama-3.1-70b", 2, 1, 5000, 500, 18.58)),
}
UNITS = {"tokens_per_s": "tokens/s", "tokens_per_s_each": "tokens/s of a device"}


def shape(model: str) -> DecoderShape:
    return shape_from_config(CONFIGS[model], model) if model in CONFIGS else read_shape(model)


def ours(table: Table, row: Row) -> float:
    """The forecast of what the table states."""
    model, tp, batch, prompt, new, _ = row
    fleet = parse_fleet(f"{table.device}x{tp * table.pp}")
    cost = forecast(shape(model), fleet, Job(batch, prompt, new, table.dtype), Split(tp, table.pp))
    return {
        "tokens_per_s": cost.tokens_per_s, "tokens_per_s_each": cost.tokens_per_s / fleet.count,
        "total_ms": 1e3 * batch * new / cost.tokens_per_s, "first_ms": 1e3 * cost.first_token_s,
        "token_ms": 1e3 * cost.token_s,
    }[table.figure]  # fmt: skip


def cited(name: str) -> dict[str, Any]:
    """One figure: how many times too high or too low."""
    wanted, row = CITED[name]
    table = next(table for table in TABLES if table.name == wanted)
    if row not in table.rows:
        raise ValueError(f"{name}: {row} does not stand in {wanted}")
    figure = ours(table, row)
    return claim(
        name, ours=figure, rival=row[-1], rival_name=f"published: {table.source}",
        ratio=max(figure / row[-1], row[-1] / figure), unit=UNITS.get(table.figure, "ms"), op="<=", bar=BAR,
        note=f"{row[0]}, {table.dtype}, TP {row[1]} x PP {table.pp}, batch {row[2]}, {row[3]} + {row[4]} tokens",
    )  # fmt: skip


def share(table: Table) -> dict[str, Any]:
    """Of one table, the share of rows within a fifth."""
    ratios = {row: ours(table, row) / row[-1] for row in table.rows}
    missed = {row: ratio for row, ratio in ratios.items() if not 1 / BAR <= ratio <= BAR}
    named = "; ".join(
        f"{row[0]} batch {row[2]}, {row[3]} + {row[4]}: {ratio:.2f} times" for row, ratio in missed.items()
    )
    return claim(
        f"plan_table: {table.name}", ours=1 - len(missed) / len(ratios),
        unit=f"share of {len(ratios)} rows within a fifth",
        note=f"median forecast {median(ratios.values()):.2f} times what was published ({table.source}). "
        + (f"Missed: {named}. {table.note}" if named else "None is missed."),
    )  # fmt: skip


def main() -> int:
    names = [*CITED, *(f"plan_table: {table.name}" for table in TABLES)]
    args = options(__doc__, names, quick="The same: it takes less than a second.").parse_args()
    claims = [cited(name) for name in CITED if args.only in (None, name)]
    claims += [share(table) for table in TABLES if args.only in (None, f"plan_table: {table.name}")]
    return finish("plan", claims, not_run=[name for name in names if args.only not in (None, name)])


if __name__ == "__main__":
    sys.exit(main())
