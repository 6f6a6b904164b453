"""The modalities: ours, in the order in which a column is offered to them, then those of other packages.

>>> [modality.name for modality in modalities()][:4]
['datetime', 'boolean', 'number', 'category']
>>> modality_of_kind("category").name, modality_of_kind("identifier")
('category', None)
"""

from __future__ import annotations

from typing import cast

from deepseek.data.features.booleans import Booleans
from deepseek.data.features.categories import Categories
from deepseek.data.features.datetimes import Datetimes
from deepseek.data.features.missing_values import MissingValueNumbers
from deepseek.data.features.modality import Modality
from deepseek.data.features.numerics import Numerics
from deepseek.data.features.texts import Texts
from deepseek.data.features.wide_numbers import WideNumbers
from deepseek.plugins import find, names

MODALITIES: dict[str, Modality] = {
    each.name: each
    for each in (Datetimes(), Booleans(), Numerics(), Categories(), MissingValueNumbers(), WideNumbers(), Texts())
}


def modalities() -> tuple[Modality, ...]:
    """Every modality, ours first. Another package adds an object to the group "deepseek.modalities" (plugins.py)."""
    return tuple(modality(name) for name in names("modalities"))


def modality(name: str) -> Modality:
    """The modality of that name. MissingError when no installed package brings it."""
    known: Modality | None = MODALITIES.get(name)  # first, for a server should not have to look for packages
    return known if known is not None else cast("Modality", find("modalities", name))


def modality_of_kind(kind: str) -> Modality | None:
    """The modality that codes columns of a kind; None for a kind that is left out (identifier, constant). Free text is
    first offered to those of other packages."""
    fitting = [modality for modality in modalities() if kind in modality.kinds]
    return next((modality for modality in fitting if modality.name != Texts.name), fitting[0] if fitting else None)
