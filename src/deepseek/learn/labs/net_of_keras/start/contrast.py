"""The layer of your colleagues that net.keras names. Its code is here, and not in that file."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="scanner")
class Contrast(keras.layers.Layer):  # type: ignore[misc]  # Keras states no types
    """Brightness below `low` becomes 0, that above `high` becomes 1, and what lies between them grows evenly."""

    def __init__(self, low: float, high: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low, self.high = low, high
        self.supports_masking = True  # lines that are masked before this layer stay masked behind it

    def call(self, lines: Any) -> Any:
        return keras.ops.clip((lines - self.low) / (self.high - self.low), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "low": self.low, "high": self.high}
