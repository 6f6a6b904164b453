"""Parameters and study files: what they mean, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")
from deepseek.automl.study.definition import Definition, read_definition
from deepseek.automl.study.press import STUDY
from deepseek.automl.study.space import Parameter, Space
from deepseek.errors import InputError

MIXED = Space((
    Parameter("heat", 100, 200, step=5), Parameter("dose", 0.01, 100, log=True), Parameter("turns", 1, 9, integer=True),
    Parameter("tool", choices=("a", "b", "c")),
))  # fmt: skip


def test_a_recipe_survives_its_encoding() -> None:
    recipe = {"heat": 135.0, "dose": 1.0, "turns": 4, "tool": "c"}
    row = MIXED.encode([recipe])
    np.testing.assert_allclose(row, [[0.35, 0.5, 0.375, 2]])
    assert MIXED.decode(row[0]) == recipe


def test_what_is_drawn_can_be_set() -> None:
    rng = np.random.default_rng(0)
    rows = MIXED.snap(MIXED.perturb(MIXED.draw(40, rng), np.full(40, 0.3), rng))
    for row in rows:
        recipe = MIXED.decode(row)
        assert MIXED.check(recipe) == recipe
        assert float(recipe["heat"]) % 5 == 0
        assert isinstance(recipe["turns"], int)
    np.testing.assert_allclose(MIXED.snap(rows), rows, atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"low": 3, "high": 3}, "range of a is empty"),
        ({"low": 5, "high": 3}, "range of a is empty"),
        ({"low": float("nan"), "high": 3}, "range of a is empty"),
        ({"low": -1e308, "high": 1e308}, "range of a is empty"),
        ({"low": 0, "high": 1e-320}, "range of a is empty"),
        ({"low": 0, "high": 3, "log": True}, "log = true"),
        ({"low": 0, "high": 3, "step": 4}, "step of a"),
        ({"low": 0.5, "high": 3, "integer": True}, "whole numbers"),
        ({"choices": ("x",)}, "2 to 200 choices"),
        ({"choices": ("x", "x")}, "each once"),
    ],
)
def test_a_parameter_that_cannot_be_set_is_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Parameter("a", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"heat": 100, "dose": 1, "turns": 2}, "no tool"),
        ({"heat": 100, "dose": 1, "turns": 2, "tool": "a", "heta": 1}, "Did you mean 'heat'"),
        ({"heat": 300, "dose": 1, "turns": 2, "tool": "a"}, "from 100 to 200"),
        ({"heat": "nan", "dose": 1, "turns": 2, "tool": "a"}, "heat = nan"),
        ({"heat": 100, "dose": 1, "turns": 2.5, "tool": "a"}, "a whole number"),
        ({"heat": 100, "dose": 1, "turns": 2, "tool": "d"}, "one of a, b, c"),
    ],
)
def test_a_recipe_that_cannot_be_set_is_refused(recipe: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        MIXED.check(recipe)


def change(tmp_path: Path, old: str, new: str) -> Definition:
    assert old in STUDY
    path = tmp_path / "study.toml"
    path.write_text(STUDY.replace(old, new, 1), encoding="utf-8")
    return read_definition(path)


def test_the_example_is_a_study(tmp_path: Path) -> None:
    definition = change(tmp_path, 'name = "press"', 'name = "line 3"')
    assert definition.quantities == ("material_yield", "bond", "blister", "tear")
    assert definition.is_broken({"material_yield": 80, "bond": 0.5, "blister": 0.1, "tear": 0.1})
    assert not definition.is_broken({"material_yield": 80, "bond": 0.6, "blister": 0.41, "tear": 0.38})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("low = 140\nhigh = 220", "low = 220\nhigh = 140", "range of temperature is empty"),
        ("least = 0.60", "least = 0.60\nmost = 0.7", "has 2 limits"),
        ("least = 0.60", "", "has 0 limits"),
        ("max_broken = 0.05", "max_broken = 5", "for 5 % write 0.05"),
        ("moisture = 5.2,", "", "no moisture"),
        ("temperature = 186", "temperature = 300", "from 140 to 220"),
        ('name = "bond"', 'name = "pressure"', "the name of something else"),
        ("gain = 400", "gian = 400", "Did you mean 'cost.gain'"),
        ('goal = "maximize"', 'goal = "more"', "maximize"),
        ("[safe]", "[[rules]]\nweights = { heat = 1 }\nmost = 3\n[safe]", "a rule weighs 'heat'"),
        ("[safe]", "[[rules]]\nweights = { margin = nan }\nmost = 3\n[safe]", "a rule bounds nothing"),
        ('name = "press"', 'name = "press"\nseed = -1', "seed is -1"),
        ("[safe]", "[[rules]]\nweights = { margin = 1 }\nmost = 3\n[safe]", "safe.start breaks a rule"),
    ],
)
def test_a_study_file_that_is_wrong_is_refused_in_words(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        change(tmp_path, old, new)


def test_a_known_recipe_may_hold_a_choice(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(
        '[[parameters]]\nname = "a"\nlow = 0\nhigh = 9\n[[parameters]]\nname = "tool"\nchoices = ["x", "y"]\n'
        '[[objectives]]\nname = "yield"\n[[constraints]]\nname = "wear"\nmost = 1\n'
        '[safe]\nstart = { a = 3, tool = "y" }\n',
        encoding="utf-8",
    )
    definition = read_definition(path)
    assert definition.safe is not None
    assert definition.space.check(definition.safe.start) == {"a": 3.0, "tool": "y"}
