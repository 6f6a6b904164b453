"""The folder as a whole: parity or nothing, the stated size or nothing, the same bytes again, and no torch in it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet
import pytest
import safetensors.numpy
import torch
from torch import nn

from deepseek.compress.edge import EdgeOptions, build, export_edge
from deepseek.compress.edge import variants as edge_variants
from deepseek.compress.edge.parity import compare_outputs
from deepseek.errors import CheckError, ExtraError, InputError, IntegrityError, MissingError
from support.nets.edgenets import save_onnx


@pytest.mark.parametrize("tier", ["c", "onnxruntime"])
def test_a_bundle_runs_from_its_folder_and_says_what_it_is(cancer_bundle: Path, tmp_path: Path, tier: str) -> None:
    done = export_edge(cancer_bundle, tmp_path / "out", EdgeOptions(tier=tier))  # type: ignore[arg-type]
    assert done.kept.parity.passes
    assert done.kept.parity.max_difference <= 1e-5
    assert done.kept.parity.num_rows == 600  # 300 rows of the card, and the same with gaps
    assert done.size_bytes < (1e6 if tier == "c" else 36e6)
    if tier == "c":
        assert done.kept.most_bytes < 5e6
    out = tmp_path / "out"
    document = json.loads((out / "edge.json").read_text())
    assert set(document["files"]) | {"edge.json", "measured.json"} == {
        str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()
    }
    for name, entry in document["files"].items():
        assert entry["sha256"] == hashlib.sha256((out / name).read_bytes()).hexdigest()
    subprocess.run(["make", "-s"], cwd=out, check=True)
    inputs = "\n".join(",".join(map(repr, row)) for row in done.target.inputs[:20].tolist())
    ran = subprocess.run(["./model"], cwd=out, input=inputs, capture_output=True, text=True, check=True, env={})
    outputs = np.array([line.split(",") for line in ran.stdout.splitlines()], float)
    np.testing.assert_allclose(outputs[:, :-1], done.target.expected[:20], atol=1e-5)


def test_the_same_model_gives_the_same_folder(cancer_bundle: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export_edge(cancer_bundle, tmp_path / name, EdgeOptions(tier="c"))
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] in ([], ["measured.json"])


def check_rows_from_stdin(folder: Path) -> None:
    """The example program reads a file as people have it, and says what it cannot read."""
    subprocess.run(["make", "-s"], cwd=folder, check=True)
    numbers = [str(1 + place) for place in range(30)]

    def run(text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["./model"], cwd=folder, input=text, capture_output=True, text=True, check=False, env={})

    row, gap = ",".join(numbers), ",".join(["nan"] * 28 + numbers[28:])
    plain = run(f"{row}\n{gap}\n").stdout
    assert len(set(plain.splitlines())) == 2
    header, empty = ",".join(f"mean_{place}" for place in range(30)), gap.replace("nan", "")
    for text in (
        f"{header}\n{row}\n{gap}\n", f"{row}\n{empty}\n", f"{row}\r\n\r\n{gap}",
        f"{header}\n{row}\n{gap}".replace(",", " ; "), f"{row}\n{gap}\n".replace(",", " "),
        f"{row}\n{empty}\n".replace(",", "\t"),
    ):  # fmt: skip
        assert (run(text).stdout, run(text).returncode) == (plain, 0), text
    for text, words in (
        (f"{row}\n{header}\n", "line 2: 'mean_0' is no number"), (f"{row}\n1,2\n", "line 2 has 2 numbers"),
        (f"{row},1\n", "line 1 has 31 numbers; the model reads 30"),
        (row.replace("7,", "x" * 200 + ",", 1), "is no number"),
    ):  # fmt: skip
        assert run(text).returncode == 1
        assert words in run(text).stderr


def test_the_guides_program_compiles_and_runs(cancer_bundle: Path, tmp_path: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guides" / "edge.md").read_text("utf-8")
    (program,) = (each for each in re.findall(r"^```c\n(.*?)^```$", guide, re.M | re.S) if "main(" in each)
    export_edge(cancer_bundle, tmp_path / "out", EdgeOptions(tier="c"))
    check_rows_from_stdin(tmp_path / "out")
    (tmp_path / "out" / "main.c").write_text(program)
    subprocess.run(["make", "-s"], cwd=tmp_path / "out", check=True)
    said = subprocess.run(["./model"], cwd=tmp_path / "out", capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"class [01] of chance [01]\.\d{3}\n", said)


def test_rows_of_the_users_own_are_what_it_is_held_to(cancer_bundle: Path, tmp_path: Path) -> None:
    from deepseek.data.table.examples import load_example

    table, _, _ = load_example("cancer")
    path = tmp_path / "rows.csv"
    names, records = table.names, table.records(40)
    path.write_text("\n".join([",".join(names), *(",".join(str(r[n]) for n in names) for r in records)]))
    done = export_edge(cancer_bundle, tmp_path / "out", EdgeOptions(tier="c"), data=path)
    assert done.kept.parity.num_rows == 80
    assert "rows.csv" in json.loads((tmp_path / "out" / "edge.json").read_text())["parity"]["rows"]
    path.write_text(",".join(names[1:]) + "\n")
    with pytest.raises(InputError):
        export_edge(cancer_bundle, tmp_path / "other", EdgeOptions(tier="c"), data=path)


def test_int8_is_taken_where_it_is_smaller_and_the_class_stays(cnn: tuple[Path, Path], tmp_path: Path) -> None:
    done = export_edge(cnn[0], tmp_path / "out", EdgeOptions(tier="c", keep=0.98), data=cnn[1])
    assert [each.name for each in done.measured] == ["float32", "int8 weights"]
    assert done.kept.name == "int8 weights"
    assert done.size_bytes < 0.75 * done.measured[0].size_bytes
    assert done.kept.parity.num_rows == 399  # the other half would be for calibration


@pytest.mark.slow
def test_int8_that_changes_the_answers_is_refused(tmp_path: Path) -> None:
    net = nn.Linear(40, 30)
    with torch.no_grad():
        net.weight[:, 0] = 2000.0  # sets the scale of the channel, and is never read
        inner = nn.Sequential(nn.Linear(40, 40), net)
        inner[0].weight.copy_(torch.eye(40))
        inner[0].bias.zero_()
    path = save_onnx(inner, (40,), tmp_path / "net.onnx")
    rows = np.random.default_rng(0).normal(size=(400, 40)).astype(np.float32)
    rows[:, 0] = 0
    safetensors.numpy.save_file({"picture": rows}, tmp_path / "rows.safetensors")
    for tier in ("c", "onnxruntime"):
        options = EdgeOptions(tier=tier)  # type: ignore[arg-type]
        done = export_edge(path, tmp_path / tier, options, data=tmp_path / "rows.safetensors")
        assert done.kept.name == "float32"
        assert not next(each for each in done.measured if each.name == "int8 weights").parity.passes
        assert json.loads((tmp_path / tier / "edge.json").read_text())["variant"] == "float32"


def test_a_program_that_answers_otherwise_is_never_written(
    cancer_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = edge_variants.bundle_program

    def wrong(runtime):
        program = right(runtime)
        broken = program.files["model.c"].replace("margin[k] += ", "margin[k] += 1e-3 + ")
        assert broken != program.files["model.c"]
        program.files["model.c"] = broken
        return program

    monkeypatch.setattr(edge_variants, "bundle_program", wrong)
    with pytest.raises(CheckError, match="no variant answers as") as error_info:
        export_edge(cancer_bundle, tmp_path / "out", EdgeOptions(tier="c"))
    assert "largest difference" in error_info.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_stated_size_is_held_and_the_sizes_are_named(cnn: tuple[Path, Path], tmp_path: Path) -> None:
    library_mb = sum(path.stat().st_size for path in edge_variants.library_files().values()) / 1e6
    limit = round(library_mb + 0.01, 2)  # a few kB for the model
    with pytest.raises(CheckError, match=r"the smallest is \d+\.\d+ MB: float32 \d+\.\d+ MB, int8") as error_info:
        export_edge(cnn[0], tmp_path / "out", EdgeOptions(max_mb=limit), data=cnn[1])
    assert error_info.value.expected == f"at most {limit:g} MB"
    assert error_info.value.exit_code == 3
    with pytest.raises(CheckError, match=rf"library and its licences alone are {library_mb:.2f} MB"):  # before it reads
        export_edge(tmp_path / "absent.onnx", tmp_path / "out", EdgeOptions(max_mb=20))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_only_when_asked_and_only_one_of_ours(cancer_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="is there already"):
            export_edge(cancer_bundle, out, EdgeOptions(tier="c", overwrite=overwrite))
    shutil.rmtree(out)
    export_edge(cancer_bundle, out, EdgeOptions(tier="c"))
    with pytest.raises(InputError, match="is there already"):
        export_edge(cancer_bundle, out, EdgeOptions(tier="c"))
    (out / "README.md").unlink()
    export_edge(cancer_bundle, out, EdgeOptions(tier="c", overwrite=True))
    assert (out / "README.md").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        (None, "brings none"),
        ({"picture": np.full((3, 1, 8, 8), np.nan, np.float32)}, "NaN"),
        ({"picture": np.zeros((3, 8, 8), np.float32)}, r"is float32 \[3, 8, 8\]"),
        ({"picture": np.zeros((0, 1, 8, 8), np.float32)}, "N at least 1"),
        ({"a": np.zeros(1, np.float32), "b": np.zeros(1, np.float32)}, "no tensor 'picture'"),
        (b"not safetensors", "cannot be read"),
        ("absent", "no file"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows: object, word: str, cnn: tuple[Path, Path], tmp_path: Path) -> None:
    path = None if rows is None else tmp_path / "rows.safetensors"
    if isinstance(rows, dict):
        safetensors.numpy.save_file(rows, path)
    elif isinstance(rows, bytes):
        path.write_bytes(rows)  # type: ignore[union-attr]
    with pytest.raises((InputError, IntegrityError, MissingError)) as error_info:
        export_edge(cnn[0], tmp_path / "out", EdgeOptions(tier="c"), data=path)
    assert re.search(word, str(error_info.value))


def test_few_rows_leave_int8_out_and_say_so(cnn: tuple[Path, Path], tmp_path: Path) -> None:
    rows = safetensors.numpy.load_file(cnn[1])["picture"][:50]
    safetensors.numpy.save_file({"picture": rows}, tmp_path / "rows.safetensors")
    done = export_edge(cnn[0], tmp_path / "out", EdgeOptions(tier="c"), data=tmp_path / "rows.safetensors")
    assert done.kept.name == "float32"
    assert "at least 100 rows" in done.notes[0]


def test_without_a_compiler_it_says_what_to_install(
    cancer_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExtraError, match="no C compiler"):
        export_edge(cancer_bundle, tmp_path / "out", EdgeOptions(tier="c"))


def test_a_model_too_large_for_c_is_refused_before_anything_is_compiled(
    cnn: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_variants, "MAX_C_WEIGHTS", 1_000)
    with pytest.raises(InputError, match=r"the model has \d,\d+ weights"):
        export_edge(cnn[0], tmp_path / "out", EdgeOptions(tier="c"), data=cnn[1])


def test_not_a_number_counts_as_infinitely_wrong() -> None:
    subject = SimpleNamespace(expected=np.zeros((2, 1), np.float32), runtime=None, is_classes=False)
    outputs = np.array([[0.0], [np.nan]], np.float32)
    for lossy in (False, True):
        comparison = compare_outputs(subject, outputs, np.zeros(2, np.int32), slice(None), lossy=lossy, keep=0.9)  # type: ignore[arg-type]
        assert not comparison.passes


def test_int8_proves_nothing_where_the_model_always_gives_one_class(cnn: tuple[Path, Path], tmp_path: Path) -> None:
    pictures = np.repeat(safetensors.numpy.load_file(cnn[1])["picture"][:1], 300, axis=0)
    safetensors.numpy.save_file({"picture": pictures}, tmp_path / "rows.safetensors")
    done = export_edge(cnn[0], tmp_path / "out", EdgeOptions(tier="c"), data=tmp_path / "rows.safetensors")
    assert done.kept.name == "float32"
    assert done.measured[1].parity.agreement == 1.0
    assert not done.measured[1].parity.passes
    assert "one class is 100.00%" in done.measured[1].parity.summary()


@pytest.mark.slow
def test_mobilenet_fits_with_its_runtime_into_50_mb_without_python(shared_data: Path, tmp_path: Path) -> None:
    from PIL import Image
    from torchvision.models import mobilenet_v2

    table = pyarrow.parquet.read_table(shared_data / "cifar10-jpeg" / "test.parquet").slice(0, 220)
    column = next(name for name in table.column_names if "image" in name or "jpeg" in name)
    rows = []
    for cell in table[column].to_pylist():
        data = cell["bytes"] if isinstance(cell, dict) else cell
        picture = Image.open(io.BytesIO(data)).convert("RGB").resize((64, 64))
        rows.append(np.asarray(picture, np.float32).transpose(2, 0, 1) / 255 - 0.5)
    safetensors.numpy.save_file({"picture": np.ascontiguousarray(rows)}, tmp_path / "rows.safetensors")
    torch.manual_seed(0)
    path = save_onnx(mobilenet_v2(), (3, 64, 64), tmp_path / "mobilenet.onnx")
    done = export_edge(path, tmp_path / "out", data=tmp_path / "rows.safetensors")
    assert done.size_bytes <= 50e6
    assert done.kept.parity.passes
    assert not list((tmp_path / "out").rglob("*.py"))
    assert done.measured[0].parity.max_difference <= 1e-4
    with build.compile_program(tmp_path / "out") as program:
        used = subprocess.run(["ldd", "measure"], cwd=program, capture_output=True, text=True, check=True).stdout
    assert "libonnxruntime.so.1 => " in used
    assert "not found" not in used
    assert "torch" not in used
    assert "python" not in used
