"""One digit in three corrupted modalities, and two digits whose sum is asked: figures of one seed each, of test rows.

A seed sets which recordings, pictures and captions go together, the noise, the weights and the order of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from multimodal_data import Corruption, Rows, digits, preparer, some_of, sums
from numpy.typing import NDArray

from deepseek.data.samples.preparer import PRESENT_SUFFIX
from deepseek.nn.fusion import MultimodalNet, MultimodalShape
from deepseek.train.multimodal.fusion import MultimodalConfig, fit_multimodal, predict_margins
from deepseek.train.tabular.calibrate import fit_calibration

THREE = ("spoken", "written", "caption")
CORRUPTED = Corruption(sound=2.5, picture=105, caption=0.55)
DIGITS = MultimodalConfig(epochs=10, alone=3.0, fusion=MultimodalShape(drop_modality=0.4))
NUM_TRAIN, NUM_HELD, NUM_TEST = 5_000, 2_000, 4_000
#: No modality knows the sum, so none is asked by itself. The weights are those of the best pass on validation rows.
SUMS = MultimodalConfig(
    optimizer="adaptive", epochs=10, alone=0.0, patience=10, fusion=MultimodalShape(drop_modality=0.15, dropout=0.0)
)
NUM_SUMS = 8_000


def fitted(
    names: Sequence[str], rows: Rows, config: MultimodalConfig, seed: int, held: Rows | None = None
) -> MultimodalNet:
    """A net for these modalities."""
    chosen, num_rows = tuple(names), len(rows.labels)
    arrays, labels, held_rows = rows.only(chosen), rows.labels, None
    if held is not None:
        arrays = {name: np.concatenate([array, held.arrays[name]]) for name, array in arrays.items()}
        labels = np.concatenate([labels, held.labels])
        held_rows = np.arange(num_rows, len(labels))
    return fit_multimodal(
        some_of(preparer(), chosen), arrays, labels, num_outputs=10, rows=np.arange(num_rows), held=held_rows,
        config=config, seed=seed,
    ).net  # fmt: skip


def logits(net: MultimodalNet, rows: Rows, *, without: str | None = None) -> NDArray[np.float64]:
    """(N, 10), with one modality missing."""
    arrays = rows.only(net.names)
    if without:
        arrays[without + PRESENT_SUFFIX] = np.zeros(len(rows.labels), bool)
    return predict_margins(net, arrays, np.arange(len(rows.labels))).astype(np.float64)


def percent(scores: NDArray[Any], rows: Rows) -> float:
    """Right answers of 100."""
    return float(100 * (scores.argmax(1) == rows.labels).mean())


def product(nets: Sequence[MultimodalNet], held: Rows, test: Rows, seed: int) -> float:
    """Percent right of the product of the chances that each net gives by itself, calibrated on held rows. Classes are
    equally frequent, so no prior is divided away."""
    total = np.zeros((len(test.labels), 10))
    for net in nets:
        calibration = fit_calibration(logits(net, held), held.labels, np.ones(len(held.labels)), seed=seed)
        total += np.log(calibration.apply(logits(net, test)) + 1e-12)
    return percent(total, test)


def digits_of(seed: int) -> dict[str, float]:
    """Percent right by each alone, by all, by their product, and with each missing against a net that never had it. The
    held rows weigh the voices of a fused net, and calibrate the nets of the product."""
    train = digits(CORRUPTED, num_rows=NUM_TRAIN, seed=seed, part="train")
    held = digits(CORRUPTED, num_rows=NUM_HELD, seed=seed, part="validation")
    test = digits(CORRUPTED, num_rows=NUM_TEST, seed=seed, part="test")
    alone = [fitted([name], train, DIGITS, seed) for name in THREE]
    accuracies = {f"alone_{name}": percent(logits(net, test), test) for name, net in zip(THREE, alone, strict=True)}
    fused = fitted(THREE, train, DIGITS, seed, held)
    accuracies |= {"fused": percent(logits(fused, test), test), "product": product(alone, held, test, seed)}
    for name in THREE:
        never = fitted([other for other in THREE if other != name], train, DIGITS, seed, held)
        accuracies[f"missing_{name}"] = percent(logits(fused, test, without=name), test)
        accuracies[f"never_{name}"] = percent(logits(never, test), test)
    return accuracies


def sums_of(seed: int) -> dict[str, float]:
    """Percent right of (spoken + written) mod 10 by all at once, by the product of nets that have one each, and with
    one missing."""
    train, held, test = (
        sums(num_rows=rows, seed=seed, part=part)
        for rows, part in ((NUM_SUMS, "train"), (NUM_HELD, "validation"), (NUM_TEST, "test"))
    )
    fused = fitted(THREE, train, SUMS, seed, held)
    alone = [fitted([name], train, MultimodalConfig(epochs=2), seed) for name in THREE]
    accuracies = {"fused": percent(logits(fused, test), test), "late": product(alone, held, test, seed)}
    return accuracies | {f"without_{name}": percent(logits(fused, test, without=name), test) for name in THREE}
