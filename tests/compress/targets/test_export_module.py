"""A module becomes a graph that any number of rows runs through, or is refused in words before it is used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from deepseek.compress.edge.network import read_network
from deepseek.compress.targets import export_module as export_module_file
from deepseek.compress.targets.export_module import INPUT_NAME, OUTPUT_NAME, export_module
from deepseek.compress.targets.user_module import load_module
from deepseek.errors import InputError
from support.nets.edgenets import small_cnn


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, bytes]:
    torch.manual_seed(0)
    module, path = small_cnn().eval(), tmp_path_factory.mktemp("graph") / "net.onnx"
    export_module(module, torch.rand(1, 1, 8, 8), path)
    return module, path.read_bytes()


def test_any_number_of_rows_gets_the_modules_answers(graph: tuple[nn.Module, bytes]) -> None:
    module, data = graph
    session = onnxruntime.InferenceSession(data)
    assert [end.name for end in (*session.get_inputs(), *session.get_outputs())] == [INPUT_NAME, OUTPUT_NAME]
    for num_rows in (1, 5, 40):
        rows = torch.rand(num_rows, 1, 8, 8)
        with torch.inference_mode():
            np.testing.assert_allclose(
                session.run(None, {INPUT_NAME: rows.numpy()})[0], module(rows).numpy(), atol=1e-6
            )


def test_one_graph_serves_the_c_tier_too(graph: tuple[nn.Module, bytes]) -> None:
    kinds = {step.kind for step in read_network(graph[1]).steps}
    assert {"conv", "dense", "pool", "add", "multiply", "softmax"} <= kinds


def test_the_file_does_not_say_where_the_users_files_lie(graph: tuple[nn.Module, bytes]) -> None:
    assert b".py" not in graph[1]
    assert not any(node.metadata_props for node in onnx.load_from_string(graph[1]).graph.node)


class Drawn(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x)


class Joined(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(0)


class Two(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x * 3


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Drawn(), "gives other answers"),
        (Joined(), r"answers 8 rows with a tensor of the shape \[4\]"),
        (Two(), "answers 8 rows with tuple"),
        (Branching(), "cannot be traced"),
        (nn.Linear(5, 2), "does not take rows of the data"),
    ],
)
def test_what_is_no_function_of_each_row_is_refused(module: nn.Module, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        export_module(module, torch.rand(3, 4), tmp_path / "net.onnx")


def test_a_module_comes_ready_to_answer_and_nothing_else_does(tmp_path: Path) -> None:
    (tmp_path / "given.py").write_text(
        "from torch import nn\n\n\ndef net():\n    return nn.Dropout()\n\n\nnumber = int\n"
    )
    assert not load_module(tmp_path / "given.py:net").training
    with pytest.raises(InputError, match="gives int"):
        load_module(tmp_path / "given.py:number")


class Surprise(nn.Module):
    """A logarithm with a floor that the exporter's optimizer used to take for nought."""

    def __init__(self, floor: float) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(x.abs() + self.floor)


def test_a_floor_of_the_modules_own_is_kept(tmp_path: Path) -> None:
    path, module = tmp_path / "net.onnx", Surprise(1e-10)
    export_module(module, torch.rand(2, 4) + 1, path)
    zeros = torch.zeros(3, 4)
    outputs = onnxruntime.InferenceSession(path).run(None, {INPUT_NAME: zeros.numpy()})[0]
    np.testing.assert_allclose(outputs, module(zeros).numpy(), rtol=1e-6)


def test_a_graph_that_loses_a_floor_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers the rows of the data as the module does."""
    whole = export_module_file.export_torch_module
    monkeypatch.setattr(
        export_module_file, "export_torch_module", lambda _, *arguments, **more: whole(Surprise(0), *arguments, **more)
    )
    with pytest.raises(InputError, match="zero: output is not finite"):
        export_module(Surprise(1e-10), torch.rand(2, 4) + 1, tmp_path / "net.onnx")
