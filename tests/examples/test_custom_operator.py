"""examples/custom_operator: the operator is right in both languages, and goes all the way to a served bundle."""

from __future__ import annotations

import doctest
import json
import math
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest
import torch
from sklearn.datasets import load_breast_cancer

from deepseek.bundle.sign import generate_keys
from deepseek.cli.support.opening_plain import open_plain
from deepseek.engines import Runtime, check_parity, export_onnx
from deepseek.engines.convert.bundle import ConvertOptions, convert_model
from deepseek.errors import ExtraError, InputError
from deepseek.explain import explainer_for
from deepseek.nn.model import Model, Part
from deepseek.train import ArrayStream, TrainConfig, fit

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "custom_operator"
sys.path.insert(0, str(EXAMPLE))

from monotone_splines import native, operator, part  # noqa: E402
from monotone_splines.candidate import to_part  # noqa: E402
from monotone_splines.module import SplineModule, loss_of  # noqa: E402
from monotone_splines.operator import NATIVE, PYTHON, monotone_spline  # noqa: E402

pytestmark = pytest.mark.slow

GRID = {"first": -1.0, "step": 0.5}


def load_native() -> None:
    try:
        native.load()
    except ExtraError as error:
        pytest.skip(str(error))


@pytest.fixture(params=[PYTHON, NATIVE])
def namespace(request: pytest.FixtureRequest) -> str:
    if request.param == NATIVE:
        load_native()
    return str(request.param)


def draw(num_rows: int = 7, num_features: int = 3, num_knots: int = 5, dtype: Any = torch.float64) -> list[Any]:
    """x (N, F) and slopes (F, K), both to be differentiated by."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(num_rows, num_features, dtype=dtype, generator=random)
    slopes = torch.rand(num_features, num_knots, dtype=dtype, generator=random)
    return [x.requires_grad_(), slopes.requires_grad_()]


def test_the_values_that_the_docstring_gives() -> None:
    assert doctest.testmod(operator) == (0, 2)


def test_the_gradients_of_both_orders_are_those_of_the_curve(namespace: str) -> None:
    def curves(x: torch.Tensor, slopes: torch.Tensor) -> torch.Tensor:
        return monotone_spline(x, slopes, **GRID, namespace=namespace)

    assert torch.autograd.gradcheck(curves, draw())
    assert torch.autograd.gradgradcheck(curves, draw())


def test_torchs_own_checks_of_an_operator_pass(namespace: str) -> None:
    x, slopes = draw()
    grad = torch.randn_like(x).requires_grad_()
    operators = getattr(torch.ops, namespace)
    for report in (
        torch.library.opcheck(operators.spline, (x, slopes, -1.0, 0.5)),
        torch.library.opcheck(operators.spline_backward, (grad, x, slopes, -1.0, 0.5)),
    ):
        assert set(report.values()) == {"SUCCESS"}


def test_it_compiles_without_a_graph_break(namespace: str) -> None:
    def loss(x: torch.Tensor, slopes: torch.Tensor) -> torch.Tensor:
        return monotone_spline(x.tanh(), slopes.exp(), **GRID, namespace=namespace).square().sum()

    plain, compiled = draw(), draw()
    expected = loss(*plain)
    expected.backward()
    compiled_loss = torch.compile(loss, fullgraph=True, backend="aot_eager")(*compiled)
    compiled_loss.backward()
    torch.testing.assert_close(compiled_loss, expected)
    torch.testing.assert_close([t.grad for t in compiled], [t.grad for t in plain])


@pytest.mark.parametrize(
    ("num_rows", "num_features", "num_knots", "dtype"),
    [
        (3000, 5, 9, torch.float32), (40, 3, 1, torch.float64), (0, 4, 3, torch.float32), (4, 0, 3, torch.float32),
        (1, 3000, 2, torch.float32),
    ],
)  # fmt: skip
def test_both_languages_give_the_same_numbers(num_rows: int, num_features: int, num_knots: int, dtype: Any) -> None:
    load_native()
    results = []
    for namespace in (PYTHON, NATIVE):
        x, slopes = draw(num_rows, num_features, num_knots, dtype)
        curves = monotone_spline(x, slopes, **GRID, namespace=namespace)
        curves.square().sum().backward()
        results.append([curves, x.grad, slopes.grad])
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-4 if dtype == torch.float32 else 1e-12)


def test_both_languages_agree_on_the_knots_beyond_them_and_on_no_number_at_all() -> None:
    load_native()
    at_knots = torch.arange(-3, 4, dtype=torch.float64) / 2  # the knots are -1 to 1, the curve's ends -1.5 and 1.5
    odd = torch.tensor([math.inf, -math.inf, 1e300, math.nan], dtype=torch.float64)
    for values in (at_knots, at_knots + 1e-9, at_knots - 1e-9, odd[:3], odd):
        results = []
        for namespace in (PYTHON, NATIVE):
            x, slopes = values[:, None].clone().requires_grad_(), draw(num_features=1)[1]
            curves = monotone_spline(x, slopes, **GRID, namespace=namespace)
            curves.backward(torch.arange(1, len(x) + 1, dtype=torch.float64)[:, None])
            results.append([curves, x.grad, slopes.grad])
        torch.testing.assert_close(results[1], results[0], equal_nan=True)


def test_a_number_that_is_none_stays_none_and_a_far_one_is_at_the_end_of_the_curve(namespace: str) -> None:
    x = torch.tensor([[math.nan], [math.inf], [-math.inf], [1e30]])
    values = monotone_spline(x, torch.ones(1, 3), first=-1, step=1, namespace=namespace).ravel().tolist()
    assert math.isnan(values[0])
    assert values[1:] == [1.5, -1.5, 1.5]


def test_arrays_that_do_not_lie_row_by_row_are_read_right(namespace: str) -> None:
    x, slopes = (tensor.detach() for tensor in draw())
    turned = monotone_spline(x.T.contiguous().T, slopes.T.contiguous().T, **GRID, namespace=namespace)
    torch.testing.assert_close(turned, monotone_spline(x, slopes, **GRID))


def test_half_precision_is_left_to_what_surrounds_it(namespace: str) -> None:
    x, slopes = (tensor.float().detach() for tensor in draw())
    with torch.autocast("cpu", torch.bfloat16):
        values = monotone_spline(x.bfloat16(), slopes, **GRID, namespace=namespace)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, monotone_spline(x.bfloat16().float(), slopes, **GRID))


def test_the_backward_pass_keeps_its_two_inputs_and_nothing_of_the_size_of_the_knots(namespace: str) -> None:
    kept: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        monotone_spline(*draw(), **GRID, namespace=namespace)
    assert sorted(kept) == [3 * 5, 7 * 3]


@pytest.mark.parametrize(
    ("x", "slopes", "first", "step", "says"),
    [
        (torch.zeros(3), torch.zeros(3, 2), 0, 1, r"x \(3,\)"),
        (torch.zeros(2, 3), torch.zeros(4, 2), 0, 1, "as many rows of slopes as x has columns"),
        (torch.zeros(2, 3), torch.zeros(3, 0), 0, 1, "K at least 1"),
        (torch.zeros(2, 3, dtype=torch.int64), torch.zeros(3, 2), 0, 1, "int64"),
        (torch.zeros(2, 3), torch.zeros(3, 2, dtype=torch.float64), 0, 1, "one type"),
        (torch.zeros(2, 3), torch.zeros(3, 2), math.nan, 1, "first = nan"),
        (torch.zeros(2, 3), torch.zeros(3, 2), 0, 0, "step = 0"),
    ],
)
def test_arguments_that_do_not_fit_are_told_so(x: Any, slopes: Any, first: float, step: float, says: str) -> None:
    with pytest.raises(InputError, match=says):
        monotone_spline(x, slopes, first=first, step=step)


def test_forward_mode_is_refused_and_the_jacobian_of_reverse_mode_is_right(namespace: str) -> None:
    x, slopes = (tensor.detach() for tensor in draw(num_rows=2))

    def curves(x: torch.Tensor) -> torch.Tensor:
        return monotone_spline(x, slopes, **GRID, namespace=namespace)

    with pytest.raises(InputError, match="forward-mode"):
        torch.func.jvp(curves, (x,), (torch.ones_like(x),))
    jacobian = torch.autograd.functional.jacobian(curves, x).reshape(6, 6)
    rate = torch.autograd.grad(curves(x.requires_grad_()).sum(), x)[0]
    torch.testing.assert_close(jacobian, torch.diag(rate.ravel()))


def test_a_direct_call_of_the_kernel_reads_nothing_beyond_its_arrays() -> None:
    load_native()
    with pytest.raises(RuntimeError, match="slopes"):
        torch.ops.monotone_splines_native.spline(torch.zeros(2, 3), torch.zeros(1, 2), 0.0, 1.0)
    with pytest.raises(RuntimeError, match="one type"):
        torch.ops.monotone_splines_native.spline(torch.zeros(2, 3), torch.zeros(3, 2).double(), 0.0, 1.0)


@pytest.mark.parametrize(
    ("compiler", "says"), [("/no/such/g++", "cannot be started"), ("false", r"does not take operator\.cpp")]
)
def test_without_a_compiler_the_error_names_the_other_way(compiler: str, says: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("CXX", compiler)
    with pytest.raises(ExtraError, match=says) as caught:
        native.build()
    assert "operator in Python" in caught.value.fix


@pytest.mark.slow
def test_the_guides_code_runs_as_it_is_written(tmp_path: Path) -> None:
    load_native()
    guide = (ROOT / "docs" / "guides" / "custom-operator.md").read_text("utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", guide, re.M | re.S)
    command = [sys.executable, "-W", "ignore", "-c", block]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(EXAMPLE)])}
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr


# Trained on real data: three columns of the breast cancer table, the first of which may only rise.


@pytest.fixture(scope="module")
def rows() -> tuple[Any, Any]:
    features, target = load_breast_cancer(return_X_y=True)
    return np.ascontiguousarray(features[:, [0, 1, 4]], np.float32), 1 - target  # 1 is malignant


def train(rows: tuple[Any, Any], namespace: str) -> tuple[SplineModule, list[float]]:
    features, target = rows
    torch.manual_seed(0)
    low, centre, high = np.quantile(features, [0.25, 0.5, 0.75], axis=0).astype(np.float32)
    signs = np.array([1, 0, 0])
    module = SplineModule(np.arange(3), centre, high - low, signs=signs, num_margins=1, namespace=namespace)
    inputs, wanted = torch.as_tensor(features), torch.as_tensor(target, dtype=torch.float32)
    stream = ArrayStream((inputs, wanted, torch.ones(len(wanted))), 64, torch.Generator().manual_seed(0))
    done = fit(module, stream, TrainConfig(epochs=15, lr=2e-2, weight_decay=0.1), loss=loss_of("binary"))
    return module, done.losses


@pytest.fixture(scope="module")
def in_python(rows: tuple[Any, Any]) -> tuple[SplineModule, list[float]]:
    return train(rows, PYTHON)


@pytest.fixture(scope="module")
def trained(in_python: tuple[SplineModule, list[float]]) -> SplineModule:
    return in_python[0]


def test_it_trains_the_same_in_both_languages(
    rows: tuple[Any, Any], in_python: tuple[SplineModule, list[float]]
) -> None:
    load_native()
    python, in_cpp = in_python[1], train(rows, NATIVE)[1]
    assert python[0] > 0.5
    assert python[-1] < 0.25
    np.testing.assert_allclose(in_cpp, python, atol=1e-4)


@pytest.fixture(scope="module")
def model(trained: SplineModule, rows: tuple[Any, Any]) -> Model:
    part = to_part(trained, rows[0])
    return Model("binary", ("benign", "malignant"), "log-odds", (Part("monotone_splines", part),))


def test_onnxruntime_gives_the_modules_answers(trained: SplineModule, model: Model, rows: tuple[Any, Any]) -> None:
    graph = export_onnx(model, 3)
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
    session = onnxruntime.InferenceSession(graph)
    far = np.concatenate([rows[0], np.array([[1e30, -1e30, 0]], np.float32)])
    (margin,) = session.run(["margin"], {"features": far})
    with torch.inference_mode():
        expected = trained(torch.as_tensor(far)).numpy()
    np.testing.assert_allclose(margin, expected, atol=1e-5)
    check_parity(model, graph, rows[0])


def test_the_graph_names_the_operator_and_defines_it_by_standard_ones(model: Model) -> None:
    graph = onnx.load_from_string(export_onnx(model, 3))
    (call,) = [node for node in graph.graph.node if node.domain == "monotone_splines"]
    (definition,) = graph.functions
    rows = np.zeros((2, 3), np.float32)
    (plain,) = onnx.reference.ReferenceEvaluator(graph).run(["margin"], {"features": rows})
    np.testing.assert_allclose(plain, model.score(rows).margin, atol=1e-5)
    assert (definition.domain, definition.name) == (call.domain, call.op_type)
    assert {node.domain for node in definition.node} == {""}


def test_a_column_that_may_only_rise_never_falls(model: Model, rows: tuple[Any, Any]) -> None:
    reach = np.linspace(-100, 100, 2001, dtype=np.float32)
    for row in rows[0][:20]:
        many = np.repeat(row[None], len(reach), axis=0)
        many[:, 0] = reach
        margin = model.score(many).margin[:, 0]
        assert np.diff(margin).min() >= -1e-5  # float32 sums
        assert margin[-1] > margin[0]


def test_an_explanation_is_exact(model: Model, rows: tuple[Any, Any]) -> None:
    attribution = explainer_for(model, ["radius", "texture", "smoothness"]).explain(rows[0])
    assert np.abs(attribution.residual).max() < 1e-5
    np.testing.assert_allclose(attribution.values.mean(axis=0), 0, atol=1e-4)  # against the mean training row
    assert attribution.method == "sum of monotone curves, exact, against the mean training row"


# In onnxruntime: a kernel of its own, which a bundle carries signed and a server loads where it is told to.


@pytest.fixture(scope="module")
def library() -> Path:
    try:
        return native.build_onnx()
    except ExtraError as error:
        pytest.skip(str(error))


def onnx_curves(library: Path | None, x: Any, slopes: Any, knots: Any, step: Any) -> Any:
    """The curves by onnxruntime: by the kernel of the library, else by the definition in standard operators."""
    make = onnx.helper
    ends = [
        make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("z", "slopes", "knots", "step")
    ]
    curves = make.make_tensor_value_info("curves", onnx.TensorProto.FLOAT, None)
    names = [end.name for end in ends]
    opsets = [make.make_opsetid("", 17), make.make_opsetid(part.MonotoneSplines.kind, 1)]
    node = make.make_node(part.OPERATOR, names, ["curves"], domain=part.MonotoneSplines.kind)
    definition = make.make_function(
        part.MonotoneSplines.kind, part.OPERATOR, names, ["curves"], part._definition(), opsets[:1]
    )
    graph = make.make_model(
        make.make_graph([node], "g", ends, [curves]), functions=[] if library else [definition],
        opset_imports=opsets, ir_version=10,
    )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if library:
        options.register_custom_ops_library(str(library))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options)
    quiet = onnxruntime.RunOptions()
    quiet.log_severity_level = 4
    return session.run(None, {"z": x, "slopes": slopes, "knots": knots, "step": np.array(step, np.float32)}, quiet)[0]


@pytest.mark.slow
def test_the_kernel_of_onnxruntime_gives_the_numbers_of_the_definition(library: Path) -> None:
    random = np.random.default_rng(0)
    knots = np.arange(5, dtype=np.float32) / 2 - 1
    odd = np.array([[np.nan, np.inf, -np.inf], [1e30, -1e30, 0], [-1, 0.5, 1]], np.float32)
    x = np.concatenate([odd, random.normal(0, 2, (500, 3)).astype(np.float32)])
    slopes = random.random((3, 5)).astype(np.float32)
    kernel, definition = (onnx_curves(each, x, slopes, knots, 0.5) for each in (library, None))
    np.testing.assert_allclose(kernel, definition, rtol=1e-5, atol=1e-5, equal_nan=True)
    assert np.isnan(kernel[0, 0])
    assert onnx_curves(library, x[:0], slopes, knots, 0.5).shape == (0, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("x", "slopes", "knots", "step"),
    [((4,), (3, 2), (2,), 1.0), ((4, 3), (2, 2), (2,), 1.0), ((4, 3), (3, 0), (0,), 1.0), ((4, 3), (3, 2), (1,), 1.0),
     ((4, 3), (3, 2), (2,), 0.0), ((4, 3), (3, 2), (2,), math.nan)],
)  # fmt: skip
def test_the_kernel_reads_nothing_beyond_its_arrays(
    x: Any, slopes: Any, knots: Any, step: float, library: Path
) -> None:
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="MonotoneSpline: "):
        onnx_curves(library, *(np.zeros(shape, np.float32) for shape in (x, slopes, knots)), step)


@pytest.mark.slow
def test_a_bundle_carries_the_kernel_and_a_server_runs_it_where_it_is_told_to(
    model: Model, rows: tuple[Any, Any], library: Path, tmp_path: Path
) -> None:
    private, public, _ = generate_keys(tmp_path / "release-key")
    source, out = tmp_path / "splines.onnx", tmp_path / "splines"
    source.write_bytes(export_onnx(model, 3))
    np.savez(tmp_path / "rows.npz", features=rows[0])
    done = convert_model(source, tmp_path / "rows.npz", out, ConvertOptions(key=private, operators=library))
    assert done.agreement.holds
    entry = json.loads((out / "operators.json").read_text())
    assert entry["operators"] == ["monotone_splines.MonotoneSpline"]
    assert entry["held_to"] == "their definitions in the graph"
    refused = deepseek("serve", out, "--port", "0", environ=WITHOUT_PLUGIN)
    assert refused.returncode == 2
    assert "brings machine code" in refused.stderr
    with served(out, WITHOUT_PLUGIN, "--allow-operators", str(public)) as client:
        records = [{"features": row.tolist()} for row in rows[0][:5]]
        answer = client.post("/v1/models/splines:predict", json={"instances": records})
    assert answer.status_code == 200, answer.text
    margins = [row["margin"] for row in answer.json()["predictions"]]
    np.testing.assert_allclose(margins, model.score(rows[0][:5]).margin, atol=1e-5)
    adapter = open_plain(out, None, public)
    assert adapter.bundle_signature == "good"
    assert adapter.file.operators.path.read_bytes() == library.read_bytes()
    assert adapter.signature.rows == "joined"  # the definition shows that rows stay apart


# As a plugin: `ship` finds it, and a server answers with it or, for answers alone, without.


@pytest.fixture(scope="module")
def with_plugin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process in which the example is installed: its entry points as pip would write them."""
    site = tmp_path_factory.mktemp("site")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))["project"]
    info = site / f"monotone_splines-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    texts = (f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups)
    (info / "entry_points.txt").write_text("".join(texts), "utf-8")
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(EXAMPLE), str(site)])}


WITHOUT_PLUGIN = os.environ | {"PYTHONPATH": str(ROOT / "src")}


def deepseek(*args: str | Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deepseek", *map(str, args)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=280)


@contextmanager
def served(bundle: Path, environ: dict[str, str], *options: str) -> Iterator[httpx.Client]:
    """A client of `deepseek serve`."""
    command = [sys.executable, "-m", "deepseek", "serve", str(bundle), *options]
    environ = environ | {"PORT": "0", "DEEPSEEK_LOG_LEVEL": "error"}
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        with httpx.Client(base_url=json.loads(line)["url"], timeout=30) as client:
            yield client
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def bundle(with_plugin: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shipped as README.md says."""
    out = tmp_path_factory.mktemp("ship") / "cancer"
    options = ["--candidates", "monotone_splines", "--monotone", "mean_radius=+1", "--trials", "2", "--out", out]
    done = deepseek("ship", "--example", "cancer", *options, "--json", environ=with_plugin)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert "monotone_splines" in document["model"]  # alone, or in a blend with the yardstick
    assert document["metrics"]["auc"]["value"] > 0.97
    return out


@pytest.mark.slow
def test_it_is_served_with_explanations_where_it_is_installed(bundle: Path, with_plugin: dict[str, str]) -> None:
    with served(bundle, with_plugin) as client:
        example = client.get("/v1/models/cancer/example").json()
        answer = client.post("/v1/models/cancer:predict", json=example)
        assert answer.status_code == 200, answer.text
        (explained,) = client.post("/v1/models/cancer:explain", json=example).json()["explanations"]
    parts = explained["values"].values() if isinstance(explained["values"], dict) else explained["values"]
    assert math.isclose(explained["base_value"] + sum(parts), explained["output"], abs_tol=1e-4)


@pytest.mark.slow
def test_it_is_served_without_explanations_where_it_is_not(bundle: Path) -> None:
    with served(bundle, WITHOUT_PLUGIN) as client:
        example = client.get("/v1/models/cancer/example").json()
        (answer,) = client.post("/v1/models/cancer:predict", json=example).json()["predictions"]
        refused = client.post("/v1/models/cancer:explain", json=example)
    with Runtime.open(bundle) as runtime:
        expected = runtime.predict([runtime.example])
    assert answer["label"] == expected.labels[0]
    assert list(answer["probabilities"].values()) == pytest.approx(expected.probabilities[0].tolist(), abs=1e-6)
    assert refused.status_code == 501
    assert "monotone_splines" in refused.json()["error"]["message"]
    assert "install the package" in refused.json()["error"]["fix"]


@pytest.mark.slow
def test_the_commands_that_need_it_say_so(bundle: Path, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    example = json.loads((bundle / "example.json").read_text("utf-8"))
    table.write_text("\n".join([",".join(example), *[",".join(map(str, example.values()))] * 2]), "utf-8")
    assert deepseek("verify", bundle, environ=WITHOUT_PLUGIN).returncode == 0
    assert deepseek("predict", bundle, table, environ=WITHOUT_PLUGIN).returncode == 0
    refused = deepseek("explain", bundle, table, environ=WITHOUT_PLUGIN)
    assert refused.returncode == 2
    assert "monotone_splines" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_it_passes_the_contract_of_every_plugin(with_plugin: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "monotone_splines or loads"]
    contract = ROOT / "tests" / "test_plugins_contract.py"
    done = subprocess.run(
        [*command, str(contract)], env=with_plugin, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout
    assert "9 passed" in done.stdout
