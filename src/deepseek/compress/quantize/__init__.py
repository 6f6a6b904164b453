"""Quantization of weights to 8-bit floats and integers: storage, quantization-aware training, layer sensitivity.

    packed = pack(Path("minilm"), Path("minilm-fp8"))         # a quarter of the bytes; deepseek serve opens it
    done = train_quantized(module, loader, QuantizeConfig("int4"), TrainConfig(epochs=1, lr=2e-5), loss=loss)
    found = scan(module, accuracy, QuantizeConfig("int4"))    # what each layer alone costs

Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import lazy_attributes

if TYPE_CHECKING:
    from deepseek.compress.quantize.container import PackResult, pack, unpack
    from deepseek.compress.quantize.fake import QuantizedWeight, convert, fake_quantize
    from deepseek.compress.quantize.fold import fold_batchnorm
    from deepseek.compress.quantize.grid import QuantizeConfig
    from deepseek.compress.quantize.qat import QatResult, quantize_weights, train_quantized
    from deepseek.compress.quantize.scaled import use_scaled_mm
    from deepseek.compress.quantize.sensitivity import LayerSensitivity, scan, worst

__all__ = [
    "LayerSensitivity", "PackResult", "QatResult", "QuantizeConfig", "QuantizedWeight", "convert", "fake_quantize",
    "fold_batchnorm", "pack", "quantize_weights", "scan", "train_quantized", "unpack", "use_scaled_mm", "worst",
]  # fmt: skip

_MODULES = {
    "LayerSensitivity": "sensitivity", "PackResult": "container", "QatResult": "qat", "QuantizeConfig": "grid",
    "QuantizedWeight": "fake", "convert": "fake", "fake_quantize": "fake", "fold_batchnorm": "fold",
    "pack": "container", "quantize_weights": "qat", "scan": "sensitivity", "train_quantized": "qat",
    "unpack": "container", "use_scaled_mm": "scaled", "worst": "sensitivity",
}  # fmt: skip

__getattr__ = lazy_attributes(__name__, _MODULES)
