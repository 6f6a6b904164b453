"""The checker that turns JSON into dataclasses says which place does not fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from deepseek.bundle.fields import parse_value
from deepseek.errors import InputError


@dataclass(frozen=True)
class Inner:
    size: int
    share: float = 0.5


@dataclass(frozen=True)
class Outer:
    name: str
    kind: Literal["a", "b"] = "a"
    on: bool = True
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    hashes: dict[str, str] = field(default_factory=dict)
    free: dict[str, Any] = field(default_factory=dict)


def test_every_kind_of_field_is_read() -> None:
    document = {
        "name": "风", "kind": "b", "on": False, "inner": {"size": 1, "share": 1}, "many": [{"size": 2}],
        "hashes": {"x": "y"}, "free": {"a": [1, 2.5, None, True, {"b": "c"}]},
    }  # fmt: skip
    parsed = parse_value(Outer, document, "top")
    assert parsed == Outer("风", "b", False, Inner(1, 1.0), (Inner(2),), {"x": "y"}, document["free"])
    assert isinstance(parsed.inner.share, float)


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ([], "top is"),
        ({}, "top has no 'name'"),
        ({"name": None}, "top.name"),
        ({"name": "x", "kind": "c"}, "top.kind"),
        ({"name": "x", "kind": []}, "top.kind"),
        ({"name": "x", "on": 1}, "top.on"),
        ({"name": "x", "inner": {"size": True}}, "top.inner.size"),
        ({"name": "x", "inner": {"size": 1, "share": "1"}}, "top.inner.share"),
        ({"name": "x", "inner": {"size": 1, "share": float("inf")}}, "top.inner.share"),
        ({"name": "x", "inner": {"size": 1, "share": 2**60}}, "top.inner.share"),
        ({"name": "x", "many": {}}, "top.many"),
        ({"name": "x", "many": [{"size": 1}, {"size": "1"}]}, r"top\.many\[1\]\.size"),
        ({"name": "x", "hashes": {"a": 1}}, "top.hashes.a"),
        ({"name": "x", "free": {"a": [float("nan")]}}, r"top\.free\.a\[0\]"),
        ({"name": "x", "nmae": 1}, "'nmae' that is not known here. Did you mean 'name'"),
    ],
)
def test_the_place_that_does_not_fit_is_named(document: object, named: str) -> None:
    with pytest.raises(InputError, match=named):
        parse_value(Outer, document, "top")
