"""What exporters write keeps its rows apart, and is joined: throughput rests on it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.engines.onnx_file.mixing import why_mixed
from deepseek.engines.onnx_file.tune import measure_file

pytestmark = pytest.mark.slow  # test_mixing.py has the rules; here torch exports graphs to try them on
RNG = np.random.default_rng(0)


def torch_graphs() -> dict[str, tuple[Any, Any, dict[int, str]]]:
    import torch
    from torch import nn

    class Read(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(50, 16)
            layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(16, 3)

        def forward(self, ids: Any) -> Any:
            return self.head(self.encoder(self.table(ids)).mean(1))

    class Hear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.states = nn.LSTM(4, 6, 2, batch_first=True, bidirectional=True)
            self.head = nn.Linear(12, 2)

        def forward(self, x: Any) -> Any:
            return self.head(self.states(x)[0][:, -1])

    class View(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.filter, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 10 * 10, 2)

        def forward(self, x: Any) -> Any:
            return torch.softmax(self.head(self.filter(x).view(-1, 4 * 10 * 10)), -1)

    picture = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.GroupNorm(4, 8), nn.SiLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(8, 5),
    )  # fmt: skip
    table = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU(), nn.BatchNorm1d(8), nn.Linear(8, 2))
    pixels = torch.randn(2, 3, 12, 12)
    return {
        "table": (table, torch.randn(2, 4), {0: "n"}),
        "read": (Read(), torch.randint(0, 50, (2, 7)), {0: "n"}),  # the older exporter writes 7 into it in any case
        "hear": (Hear(), torch.randn(2, 7, 4), {0: "n", 1: "t"}),
        "picture": (picture, pixels, {0: "n", 2: "h", 3: "w"}),
        "view": (View(), pixels, {0: "n"}),
    }


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("name", ["table", "read", "hear", "picture", "view"])
def test_what_torch_exports_is_joined(name: str, dynamo: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if dynamo:
        pytest.importorskip("onnxscript")
    module, example, free = torch_graphs()[name]
    export(torch, module.eval(), (example,), tmp_path / "m.onnx", dynamo, ({at: free[at] for at in free},))
    assert why_mixed(tmp_path / "m.onnx") == ""
    assert measure_file(tmp_path / "m.onnx", limits=None, budget_s=0.05).signature.rows == "joined"


def export(torch: Any, module: Any, examples: Any, path: Path, dynamo: bool, free: Any) -> None:
    names = [f"in{number}" for number in range(len(examples))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = tuple(dict.fromkeys(each, torch.export.Dim.DYNAMIC) for each in free)
            torch.onnx.export(module, examples, path, dynamo=True, dynamic_shapes=shapes, verbose=False)
        else:
            axes = dict(zip(names, free, strict=True)) | {"y": {0: "n"}}
            more = {"input_names": names, "output_names": ["y"], "dynamic_axes": axes, "opset_version": 17}
            torch.onnx.export(module, examples, path, dynamo=False, **more)


@pytest.mark.parametrize("dynamo", [False, True])
def test_an_encoder_of_transformers_is_joined(dynamo: bool, tmp_path: Path) -> None:
    """Its mask is looked up by the number of the row."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    sizes = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = transformers.BertConfig(**sizes, intermediate_size=32, max_position_embeddings=40)

    class Bare(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.model = transformers.BertForSequenceClassification(config).eval()

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask)[0]

    ids = torch.randint(3, 50, (2, 9))
    export(torch, Bare(), (ids, torch.ones_like(ids)), tmp_path / "m.onnx", dynamo, ({0: "n", 1: "t"},) * 2)
    assert why_mixed(tmp_path / "m.onnx") == ""


def test_pipelines_of_scikit_learn_are_joined(tmp_path: Path) -> None:
    converter = pytest.importorskip("skl2onnx")
    from sklearn.base import is_classifier
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer, StandardScaler
    from sklearn.svm import SVC

    x = RNG.normal(size=(60, 4)).astype(np.float32)
    models = [
        make_pipeline(StandardScaler(), Normalizer(), LogisticRegression()), RandomForestClassifier(4),
        GradientBoostingRegressor(n_estimators=4), GaussianNB(), KNeighborsClassifier(3), SVC(),
        MLPClassifier((4,), max_iter=3),
    ]  # fmt: skip
    for model in models:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(x, (x[:, 0] > 0).astype(int))
        options = {"zipmap": False} if is_classifier(model) else None
        graph = converter.to_onnx(model, x[:1], options=options, target_opset={"": 17, "ai.onnx.ml": 3})
        (tmp_path / "m.onnx").write_bytes(graph.SerializeToString())
        assert why_mixed(tmp_path / "m.onnx") == "", model
