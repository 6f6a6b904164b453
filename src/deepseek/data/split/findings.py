"""What a leak check finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One leak. `name` is the column, or what was compared."""

    level: Literal["refuse", "warn"]
    name: str
    message: str
    fix: str
    column: str | None = None  # that is to be left out, where that is the way out
