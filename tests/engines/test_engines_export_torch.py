"""What a module adds and multiplies with stands in its graph, however small: the optimizer of the exporter drops it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from deepseek.contracts import Tensors
from deepseek.data.samples.preparer import PRESENT_SUFFIX, SamplePreparer, Samples
from deepseek.engines.checks.edges import make_edge_samples
from deepseek.engines.checks.gate import check_edges
from deepseek.engines.export_torch import export_torch_module
from deepseek.engines.multimodal.runtime import GRAPH, TOLERANCE, check_multimodal_parity, export_multimodal, run_graph
from deepseek.errors import CheckError
from deepseek.nn.multimodal import CalibratedNet, NetShape, array_names, multimodal_net
from deepseek.nn.spectrogram import LogMel
from support.rows.sampled import preparer_of

RMS = nn.RMSNorm(4, eps=1e-12)
CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "log": lambda x: torch.log(x + 1e-10),
    "log of a difference": lambda x: torch.log(x - (-1e-10)),
    "log of what is nought": lambda x: torch.log(1 - torch.ones_like(x) + 1e-12 + 0 * x),
    "shares of a sum": lambda x: x / (x.sum(1, keepdim=True) + 1e-12),
    "length": lambda x: x / (x.norm(dim=1, keepdim=True) + 1e-9),
    "deviation": lambda x: x / (x.std(1, keepdim=True) + 1e-9),
    "root mean square": RMS,
    "log of shares": lambda x: torch.log(torch.softmax(1e4 * x, 1) + 1e-12),
    "a factor near one": lambda x: (x + 3) * 1.000009,
}


class Whole(nn.Module):
    """All of them, and numbers that the module holds itself: a buffer near 0 and a parameter near 1."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("floor", torch.tensor(1e-10))
        self.gain = nn.Parameter(torch.tensor(1.000009))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return *(function(x) for function in CASES.values()), torch.log(x * self.gain + self.floor)


@torch.no_grad()
def exported(module: nn.Module, x: Tensor, outputs: Sequence[str]) -> Any:
    """The graph, from its input "x"."""
    return export_torch_module(
        module.eval(), (x,), input_names=["x"], output_names=outputs, dynamic_shapes=({0: torch.export.Dim("rows")},)
    )


def test_small_numbers_are_kept_and_are_no_inputs_of_the_graph() -> None:
    names = [*CASES, "held"]
    x, module = torch.tensor([[0.0, 0, 0, 0], [1, 0, 0, 0], [0.25, 0.5, 0.75, 1]]), Whole()
    model = exported(module, x, names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = session.run(names, {"x": x.numpy()})
    with torch.no_grad():
        for name, output, expected in zip(names, outputs, module(x), strict=True):
            assert expected.isfinite().all(), name
            np.testing.assert_allclose(output, expected.numpy(), rtol=2e-6, atol=1e-6, err_msg=name)
    assert [each.name for each in model.graph.input] == ["x"]


def test_what_says_nothing_is_still_left_out() -> None:
    """x + 0 and x * 1."""
    module = nn.Sequential(Plain(), nn.ReLU())
    assert [each.op_type for each in exported(module, torch.zeros(3, 4), ["y"]).graph.node] == ["Relu"]


def test_an_output_that_is_given_twice_has_both_names() -> None:
    """As the value and the margin of a net for a value are one tensor."""
    model = exported(Twice(), torch.zeros(3, 4), ["margin", "output"])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = session.run(["margin", "output"], {"x": np.ones((2, 4), np.float32)})
    assert [each.tolist() for each in outputs] == [[[3.0] * 4] * 2] * 2


def test_whole_numbers_beside_floats_are_cast() -> None:
    """torch.multiply gets no cast from the exporter, and onnxruntime loads no product of a float and a whole number."""
    model = exported(Mixed(), torch.zeros(3, 4), ["y"])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (answer,) = session.run(["y"], {"x": np.full((2, 4), 1.5, np.float32)})
    np.testing.assert_array_equal(answer, np.full((2, 4), 7.5, np.float32))


class Mixed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.multiply(torch.multiply(x, torch.tensor(2, dtype=torch.int32)), torch.tensor(2.5))


class Twice(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value = x * 2 + 1
        return value, value


class Plain(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x + 0) * 1


def random_samples(preparer: SamplePreparer, num_rows: int) -> Samples:
    """Rows in which every modality is there."""
    draw = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for name, (shape, dtype) in preparer.shapes.items():
        most = {"uint8": 255, "int64": 5, "float32": 1}[dtype]
        arrays[name] = (most * draw.random((num_rows, *shape))).astype(dtype)
        arrays[name + PRESENT_SUFFIX] = np.ones(num_rows, bool)
    return Samples(Tensors(arrays))


def net_of(*columns: str) -> tuple[CalibratedNet, Samples, tuple[str, ...]]:
    """An untrained net of these columns, whose norms have seen the rows that come with it, and its arrays' names."""
    preparer = preparer_of(columns)
    samples = random_samples(preparer, num_rows=6)
    torch.manual_seed(0)
    fused = multimodal_net(preparer, NetShape(num_outputs=2)).train()
    names = array_names(fused.names)
    CalibratedNet(fused)(*(torch.from_numpy(samples.arrays[name]) for name in names))
    return CalibratedNet(fused.eval(), slope=1.5, bias=(0.25,)), samples, names


@pytest.mark.slow
def test_the_graph_of_every_kind_of_input_answers_what_training_hid_and_never_saw() -> None:
    answering, samples, names = net_of("photo", "cough", "ct", "pulse", "film", "note", "age")
    graph = export_multimodal(answering, samples, names)
    parity = check_multimodal_parity(answering, graph, samples, names)
    assert parity.max_difference <= TOLERANCE
    tried = parity.edges.cases
    for name in ("photo", "cough", "ct", "pulse", "film", "film.sound", "note", "table"):
        for case in ("missing", "alone", "zero", "zero alone", "at its largest", "one value throughout alone"):
            assert f"{name} {case}" in tried
    assert {"all missing", "table far above the data", "pulse far below the data, by a slip"} <= set(tried)
    edges = make_edge_samples({name: samples.arrays[name] for name in names})
    output = run_graph(graph, edges.arrays, np.arange(len(edges)))["output"]
    # a sound of 1e30 is never read: samples of a file lie within -1..1
    read = [at for at, case in enumerate(edges.cases) if not ("slip" in case and case.startswith(("cough", "film.s")))]
    assert np.isfinite(output[read]).all()


@pytest.mark.slow
def test_a_graph_that_fails_on_silence_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers all real rows as the net does."""
    answering, samples, names = net_of("cough", "age")
    whole = LogMel.forward

    def without_floor(self: LogMel, waveform: Tensor) -> Tensor:
        bands = whole(self, waveform)
        return torch.where(waveform.abs().amax((1, 2))[:, None, None, None] > 0, bands, torch.log(0 * bands))

    with monkeypatch.context() as patched:
        patched.setattr(LogMel, "forward", without_floor)
        graph = export_multimodal(answering, samples, names)
    with pytest.raises(CheckError, match=r"cough missing: margin is not finite|cough zero: margin is not finite"):
        check_multimodal_parity(answering, graph, samples, names)


def test_an_edge_is_named_where_a_graph_differs_and_where_it_loses_a_number() -> None:
    edges = make_edge_samples({"x": np.ones((3, 2), np.float32), "x" + PRESENT_SUFFIX: np.ones(3, bool)})
    wanted = {"y": np.ones((len(edges), 1))}
    check_edges(edges, wanted, wanted, limit=1e-4, what=GRAPH)
    for value, said in ((np.nan, "is not finite"), (1.5, "differs by 0.5")):
        outputs = wanted["y"].copy()
        outputs[edges.cases.index("x missing")] = value
        with pytest.raises(CheckError, match=f"x missing: y {said}"):
            check_edges(edges, wanted, {"y": outputs}, limit=1e-4, what=GRAPH)


def test_a_graph_says_nothing_of_the_machine_that_made_it() -> None:
    class Branches(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.GELU())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.log(self.layers(x).abs() + 1e-10)

    rows = torch.randn(2, 3)
    graph = export_torch_module(
        Branches().eval(),
        (rows,),
        input_names=["x"],
        output_names=["output"],
        dynamic_shapes=({0: torch.export.Dim("rows")},),
    )
    data = graph.SerializeToString()
    for note in (b"stack_trace", b"site-packages", b"/home", str(Path(__file__).parent).encode(), b"Branches"):
        assert note not in data
    assert not any(node.metadata_props or node.doc_string for node in graph.graph.node)


@pytest.mark.slow
def test_an_output_may_be_called_as_a_value_within() -> None:
    """As a layer of Keras and the output that it gives are."""
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2), nn.ReLU())
    x = torch.randn(2, 4)
    inner = [value for node in exported(net, x, ["answer"]).graph.node for value in node.output]
    for name in inner:
        graph = exported(net, x, [name])
        names = [value for node in graph.graph.node for value in node.output]
        assert len(set(names)) == len(names)
        session = onnxruntime.InferenceSession(graph.SerializeToString())
        (answer,) = session.run([name], {"x": x.numpy()})
        np.testing.assert_allclose(answer, net(x).detach().numpy(), atol=1e-6)
