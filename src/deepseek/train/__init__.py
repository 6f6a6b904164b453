"""Training: the loop for torch modules, candidates behind one protocol, calibration, thresholds, figures.

result = fit(model, loader, TrainConfig(epochs=10), loss=nn.CrossEntropyLoss(), checkpoints="runs/a")
result = resume(model, loader, TrainConfig(epochs=10), loss=nn.CrossEntropyLoss(), checkpoints="runs/a")   # bit-equal

Names are imported when they are first used: the configuration needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import lazily

if TYPE_CHECKING:
    from deepseek.train.config import TrainConfig
    from deepseek.train.loop import FitResult, fit, resume
    from deepseek.train.stream import ArrayStream
    from deepseek.train.track import MLflow, Sink, TensorBoard

__all__ = ["ArrayStream", "FitResult", "MLflow", "Sink", "TensorBoard", "TrainConfig", "fit", "resume"]

_MODULES = {
    "ArrayStream": "stream",
    "FitResult": "loop",
    "MLflow": "track",
    "Sink": "track",
    "TensorBoard": "track",
    "TrainConfig": "config",
    "fit": "loop",
    "resume": "loop",
}

__getattr__ = lazily(__name__, _MODULES)
