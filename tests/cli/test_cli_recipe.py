"""`deepseek recipe`: the list, and each recipe with its own example."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import click
import pytest

from deepseek.cli import main
from deepseek.recipes.registry import RECIPES

ROOT = Path(__file__).resolve().parents[2]


def test_the_list_names_each_recipe_with_its_guide(capsys: Any) -> None:
    assert main(["recipe", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["recipes"]
    assert [recipe["name"] for recipe in listed] == list(RECIPES)
    assert main(["recipe", "--list"]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in RECIPES)
    for recipe in listed:
        assert f"deepseek recipe {recipe['name']}" in (ROOT / "docs" / "guides" / recipe["guide"]).read_text("utf-8")


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_takes_an_example_and_json_and_has_examples_in_its_help(name: str) -> None:
    command = importlib.import_module(f"deepseek.cli.recipe.{name}").command
    assert isinstance(command, click.Command)
    options = {option for parameter in command.params for option in parameter.opts}
    assert {"--example", "--json"} <= options
    assert all(parameter.help for parameter in command.params if isinstance(parameter, click.Option))
    assert f"deepseek recipe {name} --example" in (command.epilog or "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which recipe?"),
        (["imagnet"], "Did you mean 'imagenet'?"),
        (["ct_record"], "give either FOLDER or --example"),
        (["ct_record", "folder", "--example"], "give either FOLDER or --example"),
        (["imagenet", "--out", "out"], "give either FOLDER or --example"),
    ],
)
def test_bad_usage_says_what_there_is(words: list[str], said: str, capsys: Any) -> None:
    assert main(["recipe", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_example_of_imagenet_learns_its_two_colors(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("torch")
    assert main(["recipe", "imagenet", "--example", "--out", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["val_top1"]["value"] == 1.0


@pytest.mark.slow
def test_the_example_of_ct_record_shows_its_leak_and_writes_its_page(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("torch")
    page = tmp_path / "ct.html"
    assert main(["recipe", "ct_record", "--example", "--html", str(page), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["size_auc"] == 1.0
    assert "</html>" in page.read_text("utf-8")
