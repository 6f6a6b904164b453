"""Checks of the lab "The architecture review": what a machine can hold. The rest stands in the rubric."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

BENCHMARK, PROBE = "benchmark.py", Path(__file__).with_name("probe.py")
COLUMNS = ("direction", "load", "yield")
BAR, NEAR, NEAR_FEATURES = 0.6, 0.01, 1e-5
MAX_LINES, MIN_WORDS, MIN_CHINESE = 300, 150, 250
ROOMS = ("deepseek.contracts", "deepseek.errors", "deepseek.data.features.modality", "deepseek.data.table")


def make(data: DataFolder) -> object:
    """A plant whose yield depends on the wind's direction, which a line through the numbers cannot say."""
    period = float(data.rng.choice([24, 60, 360, 400, 6_400])) * float(data.rng.integers(1, 9)) / 8
    name = f"circle_{data.rng.integers(10**5, 10**6)}"
    phase = float(data.rng.uniform(0.3, 0.7))
    for file, num in (("train.csv", 300), ("held.csv", 200)):
        data.write_csv(file, make_rows(data.rng, num, period, phase))
    data.write_json("brief.json", {"name": name, "period": period})
    return {"name": name, "period": period}


def make_rows(rng: np.random.Generator, num: int, period: float, phase: float) -> JsonObject:
    direction, load = np.round(rng.uniform(0, period, num), 3), np.round(rng.uniform(1, 5, num), 3)
    output = 0.4 * load + np.cos(2 * np.pi * (direction / period - phase)) + rng.normal(0, 0.1, num)
    return {"direction": direction, "load": load, "yield": np.round(output, 4)}


def check_figures(work: Work) -> None:
    said = {key: work.number("benchmark.json", key) for key in ("ours", "rival", "ratio", "bar")}
    train, held = ({key: [float(row[key]) for row in work.read_csv(file, *COLUMNS)] for key in COLUMNS}
                   for file in ("train.csv", "held.csv"))  # fmt: skip
    ask_listed(work)
    (measured,) = work.probe(PROBE, BENCHMARK, "measure", [work.truth["name"], train, held])
    features = features_of(work, train["direction"], train["direction"] + held["direction"])
    num = len(train["direction"])
    truth = {"ours": error_of(train, held, features[:num], features[num:])}
    plain = [np.array(part["direction"])[:, None] for part in (train, held)]
    truth["rival"] = error_of(train, held, *plain)
    for key, right in truth.items():
        if not abs(measured.get(key, np.nan) - right) <= NEAR * right:
            why = Text(
                "measure() does not give the error that the task describes", "measure() 给出的不是任务所述的误差"
            )
            raise Mistake("wrong_figures", key=key, said=f"{measured.get(key, np.nan):.4g}", why=why)
        if not abs(said[key] - right) <= NEAR * right:
            why = Text("your benchmark gives another figure on your rows", "你的基准测试在你的数据上给出另一个数")
            raise Mistake("wrong_figures", key=key, said=f"{said[key]:g}", why=why)
    if abs(said["ratio"] - said["ours"] / said["rival"]) > 1e-3 or work.value("benchmark.json", "holds") is not True:
        why = Text("it is ours by rival, and the bar has to hold", "应为 ours 除以 rival，且必须达到门槛")
        raise Mistake("wrong_figures", key="ratio", said=f"{said['ratio']:g}", why=why)
    if truth["ours"] > BAR * truth["rival"] or said["bar"] != BAR:
        raise Mistake("bar_missed", ratio=f"{truth['ours'] / truth['rival']:.2f}")


def error_of(train: JsonObject, held: JsonObject, features: Any, held_features: Any) -> float:
    """The root of the mean squared error on held rows, by least squares."""
    first, second = (
        np.column_stack([np.ones(len(part["load"])), part["load"], values])
        for part, values in ((train, features), (held, held_features))
    )
    weights = np.linalg.lstsq(first, np.array(train["yield"]), rcond=None)[0]
    return float(np.sqrt(np.mean((second @ weights - np.array(held["yield"])) ** 2)))


def check_listed(work: Work) -> None:
    ask_listed(work)


def ask_listed(work: Work) -> str:
    """What is wrong with the form of the modality, which is there. Mistake where it is not."""
    work.path("plugin")
    name = work.truth["name"]
    (answer,) = work.probe(PROBE, BENCHMARK, "describe", [name])
    if answer["problem"]:
        raise Mistake("no_package", name=name, problem=answer["problem"])
    return str(answer["wrong"])


def check_contract(work: Work) -> None:
    if wrong := ask_listed(work):
        raise Mistake("contract_broken", problem=wrong)
    train, values = directions(work, "contract", 80), directions(work, "others", 60) * 3 - work.truth["period"]
    (problem,) = work.probe(PROBE, BENCHMARK, "contract", [work.truth["name"], train, values])
    if problem:
        raise Mistake("contract_broken", problem=problem)


def check_circle(work: Work) -> None:
    ask_listed(work)
    period, train = work.truth["period"], directions(work, "train", 80) * 0.8  # so that its largest is not the period
    values = directions(work, "circle", 20)
    features = features_of(
        work, train, np.concatenate([values, values + period, values - period, values + period / 500])
    )
    base, *others = np.split(features, 4)
    moved = values + np.array([[period], [-period], [period / 500]])
    for number, (part, second) in enumerate(zip(others, moved, strict=True)):
        limit = 0.1 if number == 2 else NEAR_FEATURES
        apart = np.abs(part - base).max(1)
        if (row := int(np.argmax(apart))) >= 0 and apart[row] > limit:
            how = Text("near each other", "彼此相近") if number == 2 else Text("the same", "相同")
            raise Mistake("no_circle", first=f"{values[row]:g}", second=f"{second[row]:g}", said=f"{apart[row]:.3g}",
                          period=f"{period:g}", how=how)  # fmt: skip
    if np.abs(base[:, None] - base[None]).max() < 0.1:
        raise Mistake("contract_broken", problem=Text("all directions have the same features", "所有方向的特征相同"))


def check_bad_values(work: Work) -> None:
    ask_listed(work)
    (answer,) = work.probe(PROBE, BENCHMARK, "bad_values", [work.truth["name"], directions(work, "bad", 80)])
    missing = Text("a missing direction", "缺失的方向")
    if not answer["finite"]:
        raise Mistake("bad_value_taken", what=missing, said=Text("features are not finite", "特征不是有限数"))
    if answer["flags"] != [[1, "imputed"]] or answer["one"] != ["imputed"]:
        raise Mistake("bad_value_taken", what=missing, said=Text("it is not flagged as imputed", "没有标记为 imputed"))
    if not answer["text"]:
        raise Mistake("bad_value_taken", what=Text("a text", "文本"), said=Text("it gets features", "得到了特征"))
    if answer["claims"]:
        raise Mistake("bad_value_taken", what=Text("a column of numbers", "一列数"), said=Text(
            "the modality claims it unasked", "该模态擅自认领了它"))  # fmt: skip


def check_floors(work: Work) -> None:
    folder = work.path("plugin")
    files = [path for path in sorted(folder.rglob("*.py")) if path.is_file() and not path.is_symlink()]
    own = {path.name for path in (*folder.iterdir(), *(folder / "src").glob("*")) if path.is_dir()}
    own |= {path.stem for path in files}
    if not files:
        raise Mistake("no_package", name=work.truth["name"], problem=Text("it has no Python file", "没有 Python 文件"))
    for path in files:
        name, text = path.relative_to(work.folder).as_posix(), path.read_bytes()
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError) as error:
            raise Mistake("solution_raised", file=name, line=getattr(error, "lineno", 1), error=error) from error
        num = len(text.splitlines())
        if num > MAX_LINES:
            raise Mistake("file_too_long", file=name, num=num)
        for imported in imports_of(tree):
            if not is_allowed(imported, own):
                raise Mistake("floor_broken", file=name, name=imported)


def imports_of(tree: ast.Module) -> list[str]:
    """Dotted names, with what is taken of a module; a relative one begins with a dot."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]
    return names


def is_allowed(name: str, own: set[str]) -> bool:
    top = name.partition(".")[0]
    if top == "":
        return True
    if top == "deepseek":
        is_private = any(part.startswith("_") for part in name.split("."))
        return not is_private and any(name == room or name.startswith(f"{room}.") for room in ROOMS)
    return top in own or top == "numpy" or top in sys.stdlib_module_names


def check_design(work: Work) -> None:
    path = work.path("design.md")
    text = path.read_text("utf-8", "replace")[: 1 << 16]
    if not text.startswith("# ") or "TITLE" in text:
        raise Mistake("no_design", what=Text("a title", "标题"))
    for part in ("**Decided:**", "**Instead of", "**Price"):
        if part not in text:
            raise Mistake("no_design", what=f"{part}**" if not part.endswith("**") else part)
    if text.casefold().count("instead of") < 2:
        raise Mistake("no_design", what=Text('a second alternative ("instead of")', "第二个备选（instead of）"))
    if len(re.findall(r"[A-Za-z]{2,}", text)) < MIN_WORDS and len(re.findall("[\u4e00-\u9fff]", text)) < MIN_CHINESE:
        raise Mistake("no_design", what=Text(f"{MIN_WORDS} words", f"{MIN_CHINESE} 个汉字"))
    figures = [f"{work.number('benchmark.json', key):.3f}" for key in ("ours", "rival")]
    for needed in (work.truth["name"], f"{work.truth['period']:g}", *figures):
        if needed not in text:
            raise Mistake("no_design", what=needed)


def directions(work: Work, name: str, num: int) -> Any:
    return np.round(work.rng(name).uniform(0, work.truth["period"], num), 4)


def features_of(work: Work, train: Any, values: Any) -> Any:
    (features,) = work.probe(PROBE, BENCHMARK, "features_of", [work.truth["name"], train, values])
    return np.asarray(features, float)
