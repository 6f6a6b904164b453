"""`ship --dp`: which options go with a privacy budget, and the run under it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from deepseek.contracts import JsonObject
from deepseek.errors import InputError

if TYPE_CHECKING:
    from deepseek.automl.shipped import ShipResult

ALLOWED = frozenset(
    ["data", "example", "target", "out", "name", "overwrite", "seed", "candidates", "drop", "key", "dp", "dp_sample",
     "then_serve", "host", "port", "as_json"]
)  # fmt: skip
MODELS = ("linear", "perceptron")


def ship_under_budget(source: Any, budget: str | None, sample: Path | None, options: JsonObject) -> ShipResult:
    """Ship by privacy/owner. InputError for options that read rows without noise, or that it does not know."""
    if budget is None:
        raise click.UsageError("--dp-sample goes with --dp epsilon=E,delta=D")
    context = click.get_current_context()
    for name in context.params:
        if name not in ALLOWED and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = next(each.opts[0] for each in context.command.params if each.name == name)
            raise InputError(
                f"{option} does not go with --dp", expected="options that read no rows without noise",
                fix=f"leave {option} out, or ship without --dp",
            )  # fmt: skip
    if options["weights"] is not None or options["files"] is not None:
        raise InputError(
            "the labels of a project do not go with --dp", expected="a table", fix="export the labels as a table first"
        )
    models = options["candidates"] or MODELS[:1]
    if len(models) != 1 or models[0] not in MODELS:
        raise InputError(
            f"--candidates is {','.join(models)} under --dp", expected=f"one of {' and '.join(MODELS)}",
            fix="name one: to choose among several would cost budget, too",
        )  # fmt: skip
    from deepseek.extras import need
    from deepseek.privacy.owner.ship import PrivateShipOptions, ship_privately
    from deepseek.train.private.budget import parse_budget

    need("opacus", extra="dp")
    out = options["out"] or Path(source.stem if isinstance(source, Path) else options["name"] or "model")
    return ship_privately(
        source,
        PrivateShipOptions(
            target=options["target"], budget=parse_budget(budget), out=out, name=options["name"],
            model="linear" if models[0] == "linear" else "perceptron",
            drop=tuple(options["drop"]), public_rows=sample, seed=options["seed"], key=options["key"],
            overwrite=options["overwrite"], command=shlex.join(["deepseek", *sys.argv[1:]]),
        ),
    )  # fmt: skip
