"""Training: the loop for torch modules, candidates behind one protocol, calibration, thresholds, figures.

result = fit(model, loader, TrainConfig(epochs=10), loss=nn.CrossEntropyLoss(), checkpoints="runs/a")
result = resume(model, loader, TrainConfig(epochs=10), loss=nn.CrossEntropyLoss(), checkpoints="runs/a")   # bit-equal

Names are imported when they are first used: the configuration needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import lazy_attributes

if TYPE_CHECKING:
    from deepseek.train.loop.config import TrainConfig
    from deepseek.train.loop.loggers import MLflow, Sink, TensorBoard
    from deepseek.train.loop.loop import FitResult, fit, resume
    from deepseek.train.loop.stream import ArrayStream

__all__ = ["ArrayStream", "FitResult", "MLflow", "Sink", "TensorBoard", "TrainConfig", "fit", "resume"]

_MODULES = {
    "ArrayStream": "loop.stream",
    "FitResult": "loop.loop",
    "MLflow": "loop.loggers",
    "Sink": "loop.loggers",
    "TensorBoard": "loop.loggers",
    "TrainConfig": "loop.config",
    "fit": "loop.loop",
    "resume": "loop.loop",
}

__getattr__ = lazy_attributes(__name__, _MODULES)
