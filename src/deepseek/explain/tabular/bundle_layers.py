"""The layers of a bundle's perceptrons: the same arrays as a torch module, explained by layer_path().

paths = explain_bundle_layers(model, owners, features, margin)      one for each perceptron among the model's parts
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deepseek.contracts import Float32
from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.nn.dense import Perceptron
from deepseek.nn.model import Model

if TYPE_CHECKING:
    from deepseek.explain.modules.layer_records import BundleLayerPath


def explain_bundle_layers(
    model: Model, owners: Sequence[str], features: Float32, margin: int = 0
) -> tuple[BundleLayerPath, ...]:
    """The layer path of each perceptron among the model's parts, for prepared features (N, F).

    `owners` are the raw columns of the features; "columns" names that of each place of the net's input. The baseline is
    the mean training row, as in explain(). InputError for a model without a perceptron; ExtraError without torch.
    """
    nets = [
        (place, part.weight, part.weights)
        for place, part in enumerate(model.parts)
        if isinstance(part.weights, Perceptron)
    ]
    if not nets:
        kinds = ", ".join(dict.fromkeys(part.kind for part in model.parts))
        raise InputError(
            f"this model has no layers: it is made of {kinds}", expected="a model with a perceptron among its parts",
            fix="leave --layers out: the contributions of columns are exact for these parts",
        )  # fmt: skip
    torch = need("torch", extra="train")
    from deepseek.explain.modules.layer_path import LayerPathOptions, layer_path
    from deepseek.explain.modules.layer_records import BundleLayerPath
    from deepseek.explain.modules.perceptron import PerceptronModule

    options = LayerPathOptions(
        branch_edges=True
    )  # small nets, and a skip connection would hide all that lies beside it
    paths = []
    for place, weight, weights in nets:
        module = PerceptronModule(weights).eval()
        joined = torch.from_numpy(weights.join(features))
        path = layer_path(module, joined, torch.from_numpy(weights.baseline)[None], margin, options=options)
        columns = [owners[feature] for feature in weights.owner.tolist()]
        paths.append(BundleLayerPath(path, place, float(weight), tuple(columns)))
    return tuple(paths)
