"""Solutions of the lab architecture_review."""

from __future__ import annotations

import csv
import json
import math
import runpy
import shutil
from pathlib import Path

import numpy as np

from learn.solutions.tools import deepseek_verb, edit_json, replace_text

WRONG = {
    "private_import": "floor_broken", "largest_value_as_period": "no_circle", "two_cosines": "contract_broken",
    "figures_of_hope": "wrong_figures", "silent_replacement": "bad_value_taken",
}  # fmt: skip

PROJECT = """
[project]
name = "circles"
version = "0.1.0"

[project.entry-points."deepseek.modalities"]
{name} = "circles.modality:CIRCLE"
"""

MODALITY = '''
"""Directions: numbers on a circle, on which 0 and the period are one place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from deepseek.data.features.modality import EncodedFeature, ReplacedRows
from deepseek.data.table.values import parse_number, parse_numbers

PERIOD = {period}
KIND = "{name}"


@dataclass(frozen=True)
class CircleEncoder:
    """The cosine and the sine of a direction; a missing one becomes the mean place, whose features are both 0."""

    period: float
    typical: float

    dtype: ClassVar[str] = "float64"
    expected: ClassVar[str] = "a number, or null where it is missing"

    @property
    def parts(self):
        return (EncodedFeature(" cosine", "numeric"), EncodedFeature(" sine", "numeric"))

    def encode(self, values, out):
        parsed = parse_numbers(values)
        imputed = np.flatnonzero(~np.isfinite(parsed)).tolist()
        for row, value in enumerate(parsed.tolist()):
            out[row] = self.place(value)
        return ReplacedRows(imputed=imputed)

    def place(self, value):
        if not math.isfinite(value):
            return (0.0, 0.0)
        angle = 2 * math.pi * math.fmod(value, self.period) / self.period
        return (math.cos(angle), math.sin(angle))

    def quick(self):
        return lambda value: self.place(value) if type(value) is float and math.isfinite(value) else None

    def careful(self, value: Any):
        parsed = parse_number(value)
        return self.place(parsed), None if math.isfinite(parsed) else "imputed"

    def example(self):
        return self.typical


class Circle:
    name: ClassVar[str] = KIND
    kinds: ClassVar[tuple[str, ...]] = (KIND,)
    coder: ClassVar[type] = CircleEncoder

    def claims(self, profile):
        return None

    def fit(self, profile, kind):
        parsed = parse_numbers(profile.values)
        known = parsed[np.isfinite(parsed)]
        return CircleEncoder(PERIOD, float(known[0]) if len(known) else 0.0)


CIRCLE = Circle()
'''

BENCHMARK = """
import numpy as np


def measure(encode, train, held):
    plain = lambda values: np.array(values)[:, None]
    return {name: error(coded, train, held) for name, coded in (("ours", encode), ("rival", plain))}


def error(coded, train, held):
    first, second = (
        np.column_stack([np.ones(len(part["load"])), part["load"], coded(part["direction"])]) for part in (train, held)
    )
    weights = np.linalg.lstsq(first, np.array(train["yield"]), rcond=None)[0]
    return float(np.sqrt(np.mean((second @ weights - np.array(held["yield"])) ** 2)))
"""

DESIGN = """# Directions are a modality of a package: {name}

**Decided:** a direction with the period {period} is coded by its cosine and its sine, by the modality {name}, which a
package brings and which claims no column by itself. Whoever has such a column names its kind. Directions that are near
have features that are near, over the end of the period as well, and a model of any family reads them as two plain
numbers. A direction that is missing becomes the middle of the circle, near to no direction and equally far from all,
and is flagged as imputed. On held rows the error of a linear model is {ours} with these features and {rival} with
the plain number.

**Instead of** a change of the modality of numbers: every column of numbers would have to be asked whether it is a
circle, and nobody can tell that from values between 0 and 360. **Instead of** bins, which forget what lies near at
their borders and need many rows each. **Instead of** the distance to one chosen direction, which is the same for two
places of the circle.

**Price.** One column becomes two features, so that explanations have to sum both, which they do by owner. A tree needs
more than one split to say what one split of a plain number says within the circle. The period stands in the package and
not in the data: a column in other units is coded wrongly and without a word.
"""


def reference(folder: Path) -> None:
    brief = json.loads((folder / "brief.json").read_text())
    package = folder / "plugin" / "circles"
    package.mkdir(parents=True)
    (folder / "plugin" / "pyproject.toml").write_text(PROJECT.format(**brief))
    (package / "__init__.py").write_text('"""Directions for deepseek."""\n')
    (package / "modality.py").write_text(
        MODALITY.replace("{period}", repr(brief["period"])).replace("{name}", brief["name"])
    )
    (folder / "benchmark.py").write_text(BENCHMARK)
    write_figures(folder, brief["period"])
    figures = json.loads((folder / "benchmark.json").read_text())
    texts = {key: f"{figures[key]:.3f}" for key in ("ours", "rival")}
    (folder / "design.md").write_text(DESIGN.format(name=brief["name"], period=f"{brief['period']:g}", **texts))
    key = folder.parent / f"{folder.name}-author"
    deepseek_verb(folder, "keygen", str(key))
    shutil.copyfile(f"{key}.pub", folder / "author.pub")


def write_figures(folder: Path, period: float) -> None:
    def encode(values: list[float]) -> np.ndarray:
        angles = 2 * math.pi * np.array(values) / period
        return np.column_stack([np.cos(angles), np.sin(angles)])

    measure = runpy.run_path(str(folder / "benchmark.py"))["measure"]
    figures = measure(encode, read(folder / "train.csv"), read(folder / "held.csv"))
    document = {
        "claim": "error on held rows",
        **figures,
        "ratio": figures["ours"] / figures["rival"],
        "op": "<=",
        "bar": 0.6,
    }
    (folder / "benchmark.json").write_text(json.dumps(document | {"holds": document["ratio"] <= 0.6}))


def read(path: Path) -> dict[str, list[float]]:
    rows = list(csv.DictReader(path.open()))
    return {key: [float(row[key]) for row in rows] for key in rows[0]}


def private_import(folder: Path) -> None:
    replace_text(
        folder / "plugin/circles/modality.py", "import numpy as np\n",
        "import numpy as np\n\nfrom deepseek.data.features.numerics import NumberEncoder  # noqa\n",
    )  # fmt: skip


def largest_value_as_period(folder: Path) -> None:
    replace_text(folder / "plugin/circles/modality.py", "CircleEncoder(PERIOD,", "CircleEncoder(float(known.max()),")


def two_cosines(folder: Path) -> None:
    """One way in single, the other in double precision."""
    replace_text(
        folder / "plugin/circles/modality.py", "out[row] = self.place(value)",
        "out[row] = self.place(float(np.float32(value)))",
    )  # fmt: skip


def figures_of_hope(folder: Path) -> None:
    edit_json(
        folder / "benchmark.json",
        lambda document: document.update(ours=document["ours"] / 2, ratio=document["ratio"] / 2),
    )


def silent_replacement(folder: Path) -> None:
    replace_text(folder / "plugin/circles/modality.py", "return ReplacedRows(imputed=imputed)", "return ReplacedRows()")
