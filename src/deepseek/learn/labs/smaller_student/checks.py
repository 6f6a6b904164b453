"""Checks of the lab "A smaller student"."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.data.table.npz import read_npz
from deepseek.errors import DeepseekError
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

Array = NDArray[Any]
Net = dict[str, Array]
NUM_UNITS, NUM_LABELLED, NUM_UNLABELLED = 256, 60, 1_100
MAX_NUMBERS, MIN_ACCURACY = 1_600, 0.88
NAMES = ("w1", "b1", "w2", "b2")
FILE = "prune.py"


def make(data: DataFolder) -> object:
    x, y = load_digits_of(data.seed)
    teacher = teach(data.rng, x[: NUM_LABELLED + NUM_UNLABELLED], y[: NUM_LABELLED + NUM_UNLABELLED])
    np.savez(data.path("teacher.npz"), w1=teacher["w1"], b1=teacher["b1"], w2=teacher["w2"], b2=teacher["b2"])
    np.savez(data.path("labelled.npz"), x=x[:NUM_LABELLED], y=y[:NUM_LABELLED])
    np.savez(data.path("unlabelled.npz"), x=x[NUM_LABELLED : NUM_LABELLED + NUM_UNLABELLED])
    return {}


def load_digits_of(seed: int) -> tuple[Array, Array]:
    """Digits with rows and pixels in orders of the learner's own; the last rows are the grader's."""
    from sklearn.datasets import load_digits

    source, rng = load_digits(), np.random.default_rng([seed, 5])
    order = rng.permutation(len(source.target))
    return (source.data[:, rng.permutation(64)] / 16).astype(np.float32)[order], source.target[order]


def teach(rng: np.random.Generator, x: Array, y: Array) -> Net:
    """A net whose first layer is drawn and whose second is solved for."""
    w1, b1 = rng.normal(0, 0.35, (NUM_UNITS, 64)), rng.normal(0, 0.3, NUM_UNITS)
    hidden = np.column_stack([np.maximum(x @ w1.T + b1, 0), np.ones(len(x))])
    solved = np.linalg.solve(hidden.T @ hidden + 0.5 * np.eye(NUM_UNITS + 1), hidden.T @ np.eye(10)[y])
    net = {"w1": w1, "b1": b1, "w2": solved[:-1].T, "b2": solved[-1]}
    return {name: value.astype(np.float32) for name, value in net.items()}


def run_net(net: Net, x: Array) -> Array:
    return np.asarray(np.maximum(x @ net["w1"].T + net["b1"], 0) @ net["w2"].T + net["b2"])


def check_size(work: Work) -> None:
    student = read_net(work, "student.npz")
    num = sum(student[name].size for name in NAMES)
    if num > MAX_NUMBERS:
        raise Mistake("too_large", said=num, limit=MAX_NUMBERS)


def check_held(work: Work) -> None:
    student, teacher, x, y = held_of(work)
    shares = [float((run_net(net, x).argmax(1) == y).mean()) for net in (student, teacher)]
    if shares[0] < MIN_ACCURACY:
        why = Text("have the rows without labels taught it, too?", "没有标签的行是否也参与了教学？")
        if shares[0] < 0.3:
            why = Text("that is no better than guessing: are the pixels in your order, and the arrays not transposed?",
                       "与瞎猜差不多：像素顺序是否是你的，数组是否转置了？")  # fmt: skip
        raise Mistake("weak", said=f"{100 * shares[0]:.1f}", num=len(y), teacher=f"{100 * shares[1]:.1f}", why=why)


def check_agrees(work: Work) -> None:
    student, teacher, x, _ = held_of(work)
    share = float((run_net(student, x).argmax(1) == run_net(teacher, x).argmax(1)).mean())
    if share < MIN_ACCURACY:
        raise Mistake("disagrees", said=f"{100 * share:.1f}")


def held_of(work: Work) -> tuple[Net, Net, Array, Array]:
    """The student, if it is small enough to count, the teacher, and rows that neither has seen."""
    student = read_net(work, "student.npz")
    num = sum(student[name].size for name in NAMES)
    if num > MAX_NUMBERS:
        raise Mistake("too_large", said=num, limit=MAX_NUMBERS)
    x, y = load_digits_of(work.seed)
    held = slice(NUM_LABELLED + NUM_UNLABELLED, None)
    return student, read_net(work, "teacher.npz"), x[held], y[held]


def check_shapes(work: Work) -> None:
    net, x = drawn_net(work, "shapes")
    for num in (1, 7):
        prune(work, net, x, num)


def check_dead(work: Work) -> None:
    net, x = drawn_net(work, "dead")
    places = work.rng("places").choice(len(net["b1"]), 5, replace=False)
    net["b1"][places] = -1e3
    net["w2"][:, places] *= 50
    why = Text("their columns of w2 are long, but they pass on nothing", "它们在 w2 中的列很长，但什么都不传递")
    hold_unchanged(work, net, x, len(places), Text("units that never answer", "从不激活的单元"), why)


def check_constant(work: Work) -> None:
    net, x = drawn_net(work, "constant")
    places = work.rng("places").choice(len(net["b1"]), 4, replace=False)
    net["w1"][places], net["b1"][places] = 0, 3.0
    why = Text("was what they pass on added to b2?", "它们传递的量加到 b2 上了吗？")
    hold_unchanged(work, net, x, len(places), Text("units that always answer 3", "总是回答 3 的单元"), why)


def hold_unchanged(work: Work, net: Net, x: Array, num: int, what: Text, why: Text) -> None:
    """Mistake where the net answers otherwise without `num` units that are the same for all inputs."""
    gap = float(np.abs(run_net(prune(work, net, x, num), x) - run_net(net, x)).max())
    if gap > 1e-3:
        raise Mistake("changed", what=what, gap=f"{gap:.3g}", why=why)


def check_least(work: Work) -> None:
    net, x = drawn_net(work, "least")
    num = len(net["b1"]) // 2
    smaller = prune(work, net, x, num)
    right = run_net(net, x)
    moves = [float(((run_net(each, x) - right) ** 2).mean()) for each in (smaller, prune_right(net, x, num))]
    if moves[0] > 1.02 * moves[1] + 1e-9:
        why = Text(
            "look at what varies, and by how long a column it is passed on", "请看什么在变化，以及经由多长的列传递"
        )
        raise Mistake("not_least", num=num, said=f"{moves[0]:.4g}", wanted=f"{moves[1]:.4g}", why=why)


def prune_right(net: Net, x: Array, num: int) -> Net:
    hidden = np.maximum(x @ net["w1"].T + net["b1"], 0)
    order = np.argsort(hidden.std(0) * np.linalg.norm(net["w2"], axis=0), kind="stable")
    gone, rest = order[:num], np.sort(order[num:])
    return {"w1": net["w1"][rest], "b1": net["b1"][rest], "w2": net["w2"][:, rest],
            "b2": net["b2"] + net["w2"][:, gone] @ hidden[:, gone].mean(0)}  # fmt: skip


def drawn_net(work: Work, name: str) -> tuple[Net, Array]:
    """A net with units of very different use, and rows for it."""
    rng = work.rng(name)
    sizes, columns = np.exp(rng.uniform(-3, 2, 40)), np.exp(rng.uniform(-3, 2, 40))
    net = {"w1": rng.normal(0, 1, (40, 12)) * sizes[:, None], "b1": rng.normal(0, 1, 40) * sizes,
           "w2": rng.normal(0, 1, (5, 40)) * columns, "b2": rng.normal(0, 1, 5)}  # fmt: skip
    return net, rng.normal(0, 1, (200, 12))


def prune(work: Work, net: Net, x: Array, num: int) -> Net:
    """What the learner's prune() returns, of the right shapes."""
    (said,) = work.call(FILE, "prune", [net, x, num])
    if not isinstance(said, dict) or not set(NAMES) <= said.keys():
        raise Mistake(
            "no_net", name="prune()", problem=Text("w1, b1, w2 and b2 are asked for", "应有 w1、b1、w2 与 b2")
        )
    units = len(net["b1"])
    shapes = {"w1": (units - num, 12), "b1": (units - num,), "w2": (5, units - num), "b2": (5,)}
    for name, wanted in shapes.items():
        shape = getattr(said[name], "shape", None)
        if shape != wanted:
            raise Mistake("wrong_shapes", num=num, units=units, name=name, wanted=wanted, said=shape)
        if not np.isfinite(said[name]).all():
            raise Mistake("no_net", name="prune()", problem=Text("it has numbers that are not finite", "含非有限数"))
    return {name: said[name] for name in NAMES}


def read_net(work: Work, name: str) -> Net:
    """A net of the form of the task. Mistake where it is none."""
    problem: Text | str | None = None
    try:
        arrays = read_npz(work.path(name), name)
        net = {key: np.asarray(arrays[key], np.float64) for key in NAMES}
    except (DeepseekError, ValueError, KeyError, TypeError) as error:
        raise Mistake("no_net", name=name, problem=str(error)[:80]) from error
    num = len(net["b1"]) if net["b1"].ndim == 1 else 0
    shapes = {"w1": (num, 64), "b1": (num,), "w2": (10, num), "b2": (10,)}
    for key, wanted in shapes.items():
        if net[key].shape != wanted:
            problem = Text(f"{key} has the shape {net[key].shape}", f"{key} 的形状为 {net[key].shape}")
        elif not np.isfinite(net[key]).all():
            problem = Text(f"{key} has numbers that are not finite", f"{key} 含非有限数")
    if problem is not None:
        raise Mistake("no_net", name=name, problem=problem)
    return net
