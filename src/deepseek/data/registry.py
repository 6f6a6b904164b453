"""The modalities by name, in the order in which a column is offered to them.

>>> coded_by("category").name, coded_by("identifier")
('category', None)
"""

from __future__ import annotations

from deepseek.data.booleans import Booleans
from deepseek.data.categories import Categories
from deepseek.data.datetimes import Datetimes
from deepseek.data.modality import Modality
from deepseek.data.numerics import Numerics

MODALITIES: dict[str, Modality] = {
    modality.name: modality for modality in (Datetimes(), Booleans(), Numerics(), Categories())
}


def coded_by(kind: str) -> Modality | None:
    """The modality that codes columns of a kind; None for a kind that is left out (identifier, constant, text)."""
    return next((modality for modality in MODALITIES.values() if kind in modality.kinds), None)
