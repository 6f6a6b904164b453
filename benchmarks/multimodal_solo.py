"""One modality alone, on public sets with known figures: spoken digits, chest X-rays. Figures of one seed each.

Recipes were chosen on validation rows; test rows are scored once, after the last epoch.
"""

from __future__ import annotations

import time

import numpy as np
from fraud_features import data_folder
from multimodal_data import preparer, recordings, some_of, wav
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from deepseek.data.media.image import ImageReader
from deepseek.data.samples.preparer import PRESENT_SUFFIX, MediaColumn, SamplePreparer
from deepseek.nn.augment import MoveShape
from deepseek.nn.fusion import MultimodalShape
from deepseek.train.multimodal.fusion import MultimodalConfig, fit_multimodal, predict_margins

ALONE = MultimodalShape(drop_modality=0.0)
SPOKEN = MultimodalConfig(epochs=24, alone=0.0, batch_size=32, fusion=ALONE)
#: Test pictures are of other days and machines than the others: light, place and scale vary, and pictures are mixed.
CHEST = MultimodalConfig(
    epochs=24, alone=0.0, fusion=MultimodalShape(drop_modality=0.0, mixup=0.2),
    move=MoveShape(shift=0.1, scale=0.15, rotate_degrees=12, light=0.3),
)  # fmt: skip


def spoken_of(seed: int) -> dict[str, float]:
    """Percent right of fsdd's official test recordings, and what training took."""
    waves, labels, parts = recordings()
    chosen = some_of(preparer(), ("spoken",))
    arrays = dict(chosen.rows([{"spoken": wav(samples)} for samples in waves]).arrays)
    train, test = np.flatnonzero(parts != "test"), np.flatnonzero(parts == "test")
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    done = fit_multimodal(chosen, arrays, labels, num_outputs=10, rows=train, config=SPOKEN, seed=seed)
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    right = float((predict_margins(done.net, arrays, test).argmax(1) == labels[test]).mean())
    return {"right": 100 * right, "wall_s": took_s, "cpu_s": cpu_s}


def chest_of(seed: int) -> dict[str, float]:
    """AUC, and percent right at the threshold that is best on the validation part."""
    with np.load(data_folder() / "pneumoniamnist" / "pneumoniamnist.npz") as file:
        images = {part: file[f"{part}_images"] for part in ("train", "val", "test")}
        labels = {part: file[f"{part}_labels"].ravel().astype(np.int64) for part in images}
    pixels = np.concatenate(list(images.values()))[:, None]
    truth, ends = np.concatenate(list(labels.values())), np.cumsum([len(part) for part in labels.values()])
    arrays = {"chest": np.ascontiguousarray(pixels), "chest" + PRESENT_SUFFIX: np.ones(len(pixels), bool)}
    chosen = SamplePreparer((MediaColumn("chest", "image", ImageReader((28, 28), 1)),))
    done = fit_multimodal(chosen, arrays, truth, num_outputs=2, rows=np.arange(ends[0]), config=CHEST, seed=seed)
    logits = predict_margins(done.net, arrays, np.arange(ends[0], ends[2]))
    margin, truth_of_test = logits[:, 1] - logits[:, 0], truth[ends[0] :]
    held = np.arange(len(margin)) < ends[1] - ends[0]
    threshold = _best_threshold(margin[held], truth_of_test[held])
    return {
        "auc": float(roc_auc_score(truth_of_test[~held], margin[~held])),
        "right": 100 * float(((margin[~held] > threshold) == truth_of_test[~held]).mean()),
        "validation_auc": float(roc_auc_score(truth_of_test[held], margin[held])),
    }


def _best_threshold(margin: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """Between two neighbouring margins; of several that are as good the middle one."""
    order = np.sort(margin)
    between = (order[1:] + order[:-1]) / 2
    right = [float(((margin > at) == truth).mean()) for at in between]
    best = np.flatnonzero(np.array(right) >= max(right) - 1e-12)
    return float(between[best[len(best) // 2]])
