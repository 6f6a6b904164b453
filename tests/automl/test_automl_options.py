"""What may be asked of `ship`: refused at once when it cannot be, and kept as plain JSON when it can."""

from __future__ import annotations

import dataclasses
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.automl.options import ShipOptions
from deepseek.automl.ship import ship
from deepseek.errors import InputError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("seed", 2**31),
        ("budget_s", 0.0),
        ("budget_s", float("nan")),
        ("trials", 0),
        ("interval", 0.0),
        ("interval", 90),
        ("max_fpr", 5),
        ("max_fpr", -0.1),
        ("min_recall", 95),
        ("seed", 1.5),
        ("budget_s", "120s"),
        ("candidates", "xgboost"),
        ("drop", "age"),
        ("drop", ["y"]),
        ("monotone", {"y": 1}),
        ("weights", "y"),
        ("split", "time:y"),
        ("split", "group:y"),
        ("monotone", {"age": 2}),
        ("monotone", {"age": 0}),
    ],
)
def test_an_option_outside_its_bounds_is_refused_with_them(name: str, value: Any) -> None:
    with pytest.raises(InputError) as refusal:
        ShipOptions(target="y", **{name: value})
    assert name.split("_", maxsplit=1)[0] in refusal.value.message
    assert refusal.value.expected


def test_the_largest_seed_is_accepted() -> None:
    assert ShipOptions(target="y", seed=2**31 - 1).seed == 2**31 - 1


def test_the_configuration_is_plain_json_without_data_keys_or_callbacks() -> None:
    options = ShipOptions(
        target="y", out="there", test="rows.csv", key=Path("secret.pem"), progress=print, command="deepseek ship",
        drop=("a",), kinds={"a": "text"}, monotone={"b": 1}, costs=np.array([[0, 1], [5, 0]]), candidates=("linear",),
    )  # fmt: skip
    said = json.dumps(options.config())
    for hidden in ("rows.csv", "secret", "there", "ship"):
        assert hidden not in said
    assert json.loads(said)["costs"] == [[0, 1], [5, 0]]
    assert json.loads(said)["monotone"] == {"b": 1}


def test_options_are_checked_before_anything_heavy_is_imported() -> None:
    code = """
import sys
from deepseek.automl.ship import ship
from deepseek.errors import InputError
try:
    ship("nowhere.csv", target="y", budget_s=-1)
except InputError as error:
    heavy = {"torch", "sklearn", "pandas", "xgboost", "pyarrow"} & set(sys.modules)
    print(error.message, sorted(heavy))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "ship.budget_s is -1 []\n"


def test_every_option_is_an_argument_of_ship_with_the_same_default() -> None:
    parameters = dict(inspect.signature(ship).parameters)
    for own in ("data", "example"):
        del parameters[own]
    options = {field.name: field for field in dataclasses.fields(ShipOptions)}
    assert set(parameters) == set(options)
    for name, parameter in parameters.items():
        field = options[name]
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if name not in ("target", "split"):  # an example brings its own
            assert parameter.default == default, name
            assert parameter.annotation == field.type, name
