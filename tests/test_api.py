"""`import deepseek as ds`: verbs, rooms and results, as the first page of the guides shows them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import deepseek as ds
from deepseek.results import Result


@pytest.mark.slow
def test_rooms_are_there_without_an_import_of_theirs() -> None:
    code = (
        "import sys, deepseek as ds; assert not any(name.startswith('deepseek.opt') for name in sys.modules);"
        "print(ds.optimizers.AdaptiveOptimizer.__name__, callable(ds.compress), callable(ds.explain))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["AdaptiveOptimizer", "True", "True"]


def test_what_is_not_there_is_said_with_what_is() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'fit'; it has .*evaluate"):
        ds.fit  # noqa: B018 - asking is the test
    assert {"ship", "optimizers", "compress"} <= set(dir(ds))


@pytest.mark.parametrize("verb", ["inspect", "verify"])
def test_a_result_has_fields_and_reads_like_its_json(verb: str, cancer_bundle: Path) -> None:
    result = getattr(ds, verb)(cancer_bundle)
    assert isinstance(result, Result)
    assert json.loads(json.dumps(result.to_dict())) == dict(result) == result
    assert result.summary()
    assert "<" in result._repr_html_()


def test_a_module_is_explained_beside_bundles() -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(3, 1)
    rows = torch.tensor([[1.0, -2.0, 0.5]])
    attribution = ds.explain.attribute(net, rows, torch.zeros(1, 3), target=0)
    assert attribution.values[0] == pytest.approx((net.weight[0] * rows[0]).tolist(), abs=1e-6)


def test_compress_is_its_optimize(tmp_path: Path) -> None:
    with pytest.raises(ds.errors.DeepseekError, match="no data to judge on"):
        ds.compress(tmp_path / "no.onnx", None)
