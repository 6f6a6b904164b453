"""Raw columns on the device: every kind, gaps and odd values as in the bundle, and names that break out of nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepseek.automl.ship import ship
from deepseek.compress.edge import EdgeOptions, build, columns, export_edge
from deepseek.compress.edge.columns import as_numbers
from deepseek.compress.edge.ctext import string_literal
from deepseek.compress.edge.program import bundle_program
from deepseek.data.features.categories import CategoryEncoder
from deepseek.engines import Runtime
from deepseek.errors import InputError

HOSTILE = ('a"b\\', "int", "*/ #error gotcha /*", "??/\nint main(){}", "温度 ℃", "x;}", "%s%n")
LEVELS = ('"; abort(); "', "return", "红", "*/", "a\\\nb", "??)", "\\x41")


def table(num_rows: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    number = rng.normal(50, 20, num_rows)
    level = rng.integers(0, len(LEVELS), num_rows)
    start = pd.Timestamp("2019-11-03")
    moments = start + pd.to_timedelta(rng.integers(0, 900 * 86_400, num_rows), unit="s")
    frame = pd.DataFrame(
        {
            HOSTILE[0]: number,
            HOSTILE[1]: rng.integers(0, 4, num_rows).astype(float),
            HOSTILE[2]: np.array(LEVELS, object)[level],
            HOSTILE[3]: moments,
            HOSTILE[4]: 1.7e9 + rng.integers(0, 1000, num_rows).astype(float),
            HOSTILE[5]: rng.random(num_rows) < 0.4,
            HOSTILE[6]: np.array(["y", 'n"*/'], object)[rng.integers(0, 2, num_rows)],
        }
    )
    frame["target"] = (number + 9 * level + 5 * moments.day_of_week + rng.normal(0, 5, num_rows) > 90).astype(int)
    for name in (HOSTILE[0], HOSTILE[2], HOSTILE[3]):
        frame.loc[rng.choice(num_rows, 30, replace=False), name] = None
    return frame


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shipped bundle whose names and levels are hostile."""
    out = tmp_path_factory.mktemp("hostile") / "hostile"
    ship(table(), target="target", out=out, trials=2, candidates=("linear", "xgboost"))
    return out


def test_gaps_odd_values_and_unseen_levels_are_as_in_the_bundle(bundle: Path, tmp_path: Path) -> None:
    runtime = Runtime.open(bundle)
    records = table().drop(columns="target").astype(object).head(60)
    records[HOSTILE[3]] = [None if pd.isna(x) else str(x) for x in records[HOSTILE[3]]]
    rows = records.where(records.notna(), None).to_dict("records")
    for name in HOSTILE:
        rows.append(dict(rows[5], **{name: None}))
    rows += [dict(rows[7], **{HOSTILE[2]: "never seen"}), dict(rows[8], **{HOSTILE[0]: 1e300})]
    rows += [dict(rows[9], **{HOSTILE[0]: float("inf")}), dict(rows[9], **{HOSTILE[3]: "0001-01-01"})]
    rows += [dict(rows[9], **{HOSTILE[3]: "9999-12-31T23:59:59.999"}), dict(rows[9], **{HOSTILE[3]: "1969-12-31"})]
    rows.append(dict.fromkeys(HOSTILE))
    expected = runtime.score(runtime.prepare(rows).features).output
    inputs = as_numbers(runtime.preprocessor, {name: [row[name] for row in rows] for name in HOSTILE})
    program = bundle_program(runtime)
    folder = tmp_path / "program"
    folder.mkdir()
    for name, content in program.files.items():
        (folder / name).write_text(content, encoding="utf-8")
    with build.compile_program(folder) as compiled_program:
        ran = build.run_program(compiled_program, inputs, program)
    np.testing.assert_allclose(ran.outputs, expected, atol=1e-5)


def test_names_and_levels_come_out_as_they_went_in(bundle: Path, tmp_path: Path) -> None:
    export_edge(bundle, tmp_path / "out", EdgeOptions(tier="c"))
    code = (tmp_path / "out" / "model.c").read_text("ascii")  # nothing of a name is there as it is
    assert "abort" in code
    assert "abort()" not in code
    assert "#error" not in code
    runtime = Runtime.open(bundle)
    place = list(HOSTILE).index(HOSTILE[2])
    coder = runtime.preprocessor.columns[place].coder
    assert isinstance(coder, CategoryEncoder)
    statements = "".join(
        f'    printf("%g\\n", model_code({place}, {string_literal(level)}));\n' for level in (*coder.levels, "other")
    )
    (tmp_path / "out" / "main.c").write_text(
        '#include <stdio.h>\n#include "model.h"\nint main(void)\n{\n    for (int i = 0; i < MODEL_NUM_INPUTS; i++)\n'
        '        printf("%s%c", model_input_names[i], 0);\n'
        + statements + "    return 0;\n}\n"
    )  # fmt: skip
    subprocess.run(["make", "-s"], cwd=tmp_path / "out", check=True)
    said = subprocess.run(["./model"], cwd=tmp_path / "out", capture_output=True, check=True).stdout
    *names, codes = said.decode().split("\0")
    assert tuple(names) == HOSTILE
    assert codes.split() == [str(code) for code in (*range(1, len(coder.levels) + 1), 0)]
    input_columns = json.loads((tmp_path / "out" / "edge.json").read_text("ascii"))["inputs"]
    assert [each["name"] for each in input_columns] == list(HOSTILE)
    assert input_columns[place]["levels"] == {level: code for code, level in enumerate(coder.levels, 1)}


def test_the_example_reads_text_and_says_what_the_bundle_says(bundle: Path, tmp_path: Path) -> None:
    export_edge(bundle, tmp_path / "out", EdgeOptions(tier="c"))
    runtime = Runtime.open(bundle)
    rows = [dict(runtime.example), dict.fromkeys(HOSTILE)]
    numbers = as_numbers(runtime.preprocessor, {name: [row[name] for row in rows] for name in HOSTILE})
    lines = "\n".join(",".join(map(repr, row.tolist())) for row in numbers)
    subprocess.run(["make", "-s"], cwd=tmp_path / "out", check=True)
    done = subprocess.run(["./model"], cwd=tmp_path / "out", input=lines, capture_output=True, text=True, check=True)
    prediction = runtime.predict(rows)
    for line, chances, label in zip(done.stdout.splitlines(), prediction.probabilities, prediction.labels, strict=True):
        *scores, chosen = map(float, line.split(","))
        np.testing.assert_allclose(scores, chances, atol=1e-5)
        assert prediction.labels_known[int(chosen)] == label
    cut = subprocess.run(
        ["./model"], cwd=tmp_path / "out", input=lines[:9], capture_output=True, text=True, check=False
    )
    assert cut.returncode == 1


def test_columns_that_c_does_not_prepare_are_said_and_taken_prepared(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "ARITHMETIC_CODERS", tuple(set(columns.ARITHMETIC_CODERS) - {CategoryEncoder}))
    done = export_edge(bundle, tmp_path / "out", EdgeOptions(tier="c"))
    names = Runtime.open(bundle).preprocessor.feature_names
    assert done.target.inputs.shape[1] == len(names)
    assert "PREPARED features" in (tmp_path / "out" / "README.md").read_text()
    input_columns = json.loads((tmp_path / "out" / "edge.json").read_text("ascii"))["inputs"]
    assert [each["name"] for each in input_columns] == list(names)


def test_a_name_that_no_c_string_holds_is_refused() -> None:
    for name in ("x" * 5000, "a\0b"):
        with pytest.raises(InputError, match="zero byte"):
            string_literal(name)
