"""Checks of the lab "A net of Keras, served without Keras".

The net is a reservoir (Jaeger, 2001): the weights of its recurrent layer are drawn, and its last layer is fitted by
ridge regression. So the same seed gives the same bytes on every machine, which training by steps would not.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.extras import need
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

Pictures = NDArray[np.float32]  # (N, 8, 8): N pictures of 8 lines of 8 values
NUM_TRAIN, NUM_NEW, NUM_FRESH, NUM_SENT = 600, 24, 24, 3
NUM_UNITS = 96
LOST = -1.0  # each value of a line that the scanner has lost
BRIGHTEST = 16.0
MAX_ROWS, MIN_WHOLE, MIN_LOST = 64, 8, 8
TOLERANCE = 1e-3  # of a chance; both sides compute in float32, some 1e-6 apart
SAVED_AT = "2026-11-30@00:00:00"  # so that the same seed writes the same bytes
LAMBDA_CODE = "4wAAAAAAAAAA"
SHELF = ("a", "b", "c", "d")
REASONS = ("code", "custom", "backend", "nothing")
#: contrast.py of a learner: the layer of the colleagues.
CONTRAST = '''"""The layer of your colleagues that net.keras names. Its code is here, and not in that file."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="scanner")
class Contrast(keras.layers.Layer):
    """Brightness below `low` becomes 0, that above `high` becomes 1, and what lies between them grows evenly."""

    def __init__(self, low: float, high: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low, self.high = low, high
        self.supports_masking = True  # lines that are masked before this layer stay masked behind it

    def call(self, lines: Any) -> Any:
        return keras.ops.clip((lines - self.low) / (self.high - self.low), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "low": self.low, "high": self.high}
'''
LAYER_NAMES = ("smooth", "sharpen", "level", "lighten", "halve", "trim", "frame", "gather")


@dataclass(frozen=True, slots=True)
class Net:
    """All numbers of the colleagues' net; its twin in numpy is what bundles are held to."""

    low: float
    high: float
    reader: list[Any]  # of SimpleRNN: (8, U), (U, U) and (U,)
    digit: list[Any]  # of Dense: (U, 10) and (10,)

    def states(self, pictures: Pictures) -> NDArray[np.float64]:
        """What the recurrent layer knows at the end, (N, U): a lost line changes nothing."""
        inputs, recurrent, bias = (np.asarray(each, float) for each in self.reader)
        is_read = (pictures != LOST).any(2)
        lines = np.clip((pictures.astype(float) - self.low) / (self.high - self.low), 0, 1)
        states = np.zeros((len(pictures), NUM_UNITS))
        for step in range(lines.shape[1]):
            after = np.tanh(lines[:, step] @ inputs + states @ recurrent + bias)
            states = np.where(is_read[:, step, None], after, states)
        return states

    def chances(self, pictures: Pictures) -> NDArray[np.float64]:
        """(N, 10)"""
        weights, bias = (np.asarray(each, float) for each in self.digit)
        scores = self.states(pictures) @ weights + bias
        powers = np.exp(scores - scores.max(1, keepdims=True))
        shares: NDArray[np.float64] = powers / powers.sum(1, keepdims=True)
        return shares


def make(data: DataFolder) -> object:
    rng = data.rng
    pictures, digits = scan(rng, NUM_TRAIN + NUM_NEW)
    pictures = lose_lines(pictures, rng, 0.06)
    net = fit_net(rng, pictures[:NUM_TRAIN], digits[:NUM_TRAIN])
    new = lose_lines(pictures[NUM_TRAIN:], rng, 0.1)
    new[:NUM_SENT] = 0.0
    new[1, int(rng.integers(8))] = LOST
    new[2] = LOST
    np.savez(data.path("train.npz"), lines=pictures[:NUM_TRAIN], digit=digits[:NUM_TRAIN])
    np.savez(data.path("new.npz"), lines=new)
    data.write_text("contrast.py", CONTRAST)
    save_net(keras_net(net, data.folder / "contrast.py"), data.path("net.keras"))
    return {"net": asdict(net), "shelf": write_shelf(data)}


def scan(rng: np.random.Generator, num: int) -> tuple[Pictures, NDArray[np.int64]]:
    """Pictures of digits and what they are (Alpaydin and Kaynak, 1998), with the noise of a scanner."""
    from sklearn.datasets import load_digits

    source = load_digits()
    rows = rng.choice(len(source.target), num)
    pictures = np.clip(source.images[rows] + rng.normal(0, 0.5, (num, 8, 8)), 0, BRIGHTEST)
    return pictures.round(2).astype(np.float32), source.target[rows].astype(np.int64)


def lose_lines(pictures: Pictures, rng: np.random.Generator, share: float) -> Pictures:
    """Pictures of which so many lines are lost."""
    pictures = pictures.copy()
    pictures[rng.random(pictures.shape[:2]) < share] = LOST
    return pictures


def fit_net(rng: np.random.Generator, pictures: Pictures, digits: NDArray[np.int64]) -> Net:
    recurrent = rng.normal(0, 1, (NUM_UNITS, NUM_UNITS))
    recurrent *= 0.9 / np.abs(np.linalg.eigvals(recurrent)).max()  # what was read fades
    reader = [rng.normal(0, 0.2, (8, NUM_UNITS)), recurrent, rng.normal(0, 0.1, NUM_UNITS)]
    low, high = round(float(rng.uniform(1, 3)), 2), round(float(rng.uniform(11, 14)), 2)
    net = Net(low, high, [each.round(3).tolist() for each in reader], [])
    states = np.c_[net.states(pictures), np.ones(len(pictures))]
    right = np.linalg.solve(states.T @ states + 0.1 * np.eye(NUM_UNITS + 1), states.T @ np.eye(10)[digits])
    digit = (8 * right).round(2)
    return Net(low, high, net.reader, [digit[:-1].tolist(), digit[-1].tolist()])


def keras_net(net: Net, layer_file: Path) -> Any:
    keras = need("keras", extra="keras-convert")
    spec = importlib.util.spec_from_file_location("contrast", layer_file)
    assert spec is not None  # noqa: S101  (it was written before)
    assert spec.loader is not None  # noqa: S101
    contrast = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(contrast)
    lines = keras.Input((8, 8), name="lines")
    seen = keras.layers.Masking(LOST, name="lost_lines")(lines)
    bright = contrast.Contrast(net.low, net.high, name="contrast")(seen)
    state = keras.layers.SimpleRNN(NUM_UNITS, name="reader")(bright)
    model = keras.Model(lines, keras.layers.Dense(10, "softmax", name="digit")(state), name="net")
    for name, weights in (("reader", net.reader), ("digit", net.digit)):
        model.get_layer(name).set_weights([np.asarray(each, np.float32) for each in weights])
    return model


def write_shelf(data: DataFolder) -> dict[str, list[str | None]]:
    """Four small nets, in an order and with names of the learner's own: why each is refused, and for which layer."""
    reasons = data.rng.permutation(REASONS)
    truth: dict[str, list[str | None]] = {}
    for letter, reason in zip(SHELF, reasons, strict=True):
        names = [str(name) for name in data.rng.permutation(LAYER_NAMES)]
        save_net(shelf_net(str(reason), names, data.rng), data.path(f"shelf/{letter}.keras"))
        truth[letter] = [None if reason == "nothing" else names[0], str(reason)]
    return truth


def shelf_net(reason: str, names: Sequence[str], rng: np.random.Generator) -> Any:
    """A net whose layer names[0] is refused for that reason; the other layers are Keras' own."""
    keras: Any = need("keras", extra="keras-convert")

    @keras.saving.register_keras_serializable(package="scanner")
    class Soften(keras.layers.Layer):  # type: ignore[misc]
        def call(self, lines: Any) -> Any:
            return lines / 2

    Soften.__module__ = "soften"
    layers = keras.layers
    match reason:
        case "code":
            refused = layers.Lambda(lambda lines: lines / 2, output_shape=(8, 8), name=names[0])
        case "custom":
            refused = Soften(name=names[0])
        case "backend":  # Keras on torch repeats the last line where TensorFlow leaves it out
            refused = layers.AveragePooling1D(3, strides=2, padding="same", name=names[0])
        case _:
            refused = layers.AveragePooling1D(2, strides=2, padding="same", name=names[0])
    rows = keras.Input((8, 8), name="lines")
    steps = [layers.Rescaling(1 / BRIGHTEST, name=names[1]), layers.Conv1D(4, 3, padding="same", name=names[2])]
    steps.insert(int(rng.integers(1, 3)), refused)
    result: Any = rows
    for step in (*steps, layers.ReLU(name=names[3]), layers.Flatten(name=names[4]), layers.Dense(1, name=names[5])):
        result = step(result)
    model = keras.Model(rows, result, name="shelf")
    model.set_weights([rng.normal(0, 0.3, each.shape).round(3) for each in model.get_weights()])
    return model


def save_net(model: Any, path: Path) -> None:
    """Save a .keras file that is the same, byte for byte, for the same net."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "net.keras")
        with zipfile.ZipFile(Path(folder) / "net.keras") as saved, zipfile.ZipFile(path, "w") as fixed:
            for name in sorted(saved.namelist()):
                content = saved.read(name)
                if name.endswith(".json"):
                    content = json.dumps(_without_chance(json.loads(content), {})).encode()
                fixed.writestr(zipfile.ZipInfo(name), content)


def _without_chance(value: Any, numbers: dict[int, int]) -> Any:
    """JSON of Keras without what is another one at each saving: the time, addresses of objects (`numbers` has one by
    address for each that was seen), and the byte code of a Lambda, which each Python writes otherwise and none runs."""
    if isinstance(value, list):
        return [_without_chance(each, numbers) for each in value]
    if not isinstance(value, dict):
        return value
    fixed: dict[str, Any] = {"date_saved": SAVED_AT, "code": LAMBDA_CODE}
    if "shared_object_id" in value:
        fixed["shared_object_id"] = numbers.setdefault(value["shared_object_id"], len(numbers))
    return {name: fixed[name] if name in fixed else _without_chance(each, numbers) for name, each in value.items()}


def check_verifies(work: Work) -> None:
    engine_of(work).close()


def check_whole(work: Work) -> None:
    pictures, _ = scan(work.rng("whole"), NUM_FRESH)
    num, off = differing(work, pictures)
    if num:
        raise Mistake("other_whole", num=num, total=len(pictures), off=f"{off:.3f}")


def check_extremes(work: Work) -> None:
    rng = work.rng("extremes")
    pictures, _ = scan(rng, NUM_FRESH)
    pictures *= rng.choice([0.0, 0.2, 2.0, 100.0], (NUM_FRESH, 1, 1)).astype(np.float32)
    num, off = differing(work, pictures)
    if num:
        raise Mistake("other_extremes", num=num, total=len(pictures), off=f"{off:.3f}")


def check_gaps(work: Work) -> None:
    rng = work.rng("gaps")
    pictures = lose_lines(scan(rng, NUM_FRESH)[0], rng, 0.3)
    pictures[0, 1:], pictures[1] = LOST, LOST
    num, off = differing(work, pictures)
    if num:
        raise Mistake("other_gaps", num=num, total=len(pictures), off=f"{off:.3f}")


def check_compared(work: Work) -> None:
    rows = read_pictures(work, "rows.npz")
    lost = (rows == LOST).all(2)
    if len(rows) > MAX_ROWS:
        raise Mistake("rows_many", num=len(rows), most=MAX_ROWS)
    for num, least, what in (
        ((~lost).all(1).sum(), MIN_WHOLE, Text("pictures without a lost line", "张没有丢失行的图片")),
        ((lost.any(1) & ~lost.all(1)).sum(), MIN_LOST, Text("pictures with a lost line", "张有丢失行的图片")),
        (lost.all(1).sum(), 1, Text("picture whose lines are all lost", "张所有行都丢失的图片")),
    ):
        if num < least:
            raise Mistake("rows_lack", num=int(num), least=least, what=what)
    parity = json.loads((bundle_of(work) / "evidence" / "parity.json").read_text("utf-8"))
    if parity["num_rows"] != len(rows):
        raise Mistake("other_rows", num=len(rows), compared=parity["num_rows"])


def check_answers(work: Work) -> None:
    new = read_pictures(work, "new.npz")
    said = work.read_csv("answers.csv", "net_digit", "net_chance", "bundle_digit", "bundle_chance")
    if len(said) != len(new):
        raise Mistake("few_rows", num=len(said), wanted=len(new))
    for side, chances in (("net", net_of(work).chances(new)), ("bundle", bundle_chances(work, new))):
        for place, (row, right) in enumerate(zip(said, chances, strict=True)):
            digit, chance = row[f"{side}_digit"], row[f"{side}_chance"]
            if not is_answer(digit, chance, right):
                words = f"{digit[:20]} ({chance[:20]})"
                raise Mistake("other_answers", row=place + 1, said=words, side=SIDES[side])


SIDES = {"net": Text("net.keras", "net.keras"), "bundle": Text("the bundle", "模型包")}


def is_answer(digit: str, chance: str, chances: NDArray[np.floating[Any]]) -> bool:
    """Whether a digit is one of the largest chance, and the chance its own; two may be as good as equal."""
    try:
        value, place = float(chance), int(float(digit))
    except (ValueError, OverflowError):
        return False
    in_range = 0 <= place < len(chances)
    return in_range and abs(value - chances.max()) <= TOLERANCE and chances.max() - chances[place] <= TOLERANCE


def check_served(work: Work) -> None:
    body, new = work.read_json("request.json"), read_pictures(work, "new.npz")[:NUM_SENT]
    with work.serve("model") as served:
        status, answer = served.post(f"/v1/models/{served.model}:predict", body)
    if status != 200:
        raise Mistake("request_refused", status=status, problem=str(answer.get("error", answer))[:200])
    try:
        chances = np.asarray([row["digit"] for row in answer["predictions"]], float)
    except (KeyError, TypeError, ValueError):
        chances = np.empty((0, 0))
    if chances.shape != (len(new), 10):
        raise Mistake("request_rows", num=len(chances), wanted=len(new))
    off = np.abs(chances - net_of(work).chances(new)).max(1)
    if (off > TOLERANCE).any():
        raise Mistake("other_request", row=int(off.argmax()) + 1)


def check_refused(work: Work) -> None:
    for letter, (layer, reason) in work.truth["shelf"].items():
        said = {part: work.value("refused.json", f"{letter}.{part}") for part in ("layer", "why")}
        if said["why"] not in REASONS:
            raise Mistake("unknown_reason", net=letter, said=str(said["why"])[:40], known=", ".join(REASONS))
        if said["why"] != reason:
            raise Mistake("wrong_reason", net=letter, said=said["why"])
        if said["layer"] != layer:
            raise Mistake("wrong_layer", net=letter, said=str(said["layer"])[:40])


def net_of(work: Work) -> Net:
    return Net(**work.truth["net"])


def bundle_of(work: Work) -> Path:
    """The bundle. Mistake where it was not converted from a net that reads pictures."""
    path = work.bundle("model")
    manifest = json.loads((path / "bundle.json").read_text("utf-8"))
    inputs = [(each["name"], each.get("shape")) for each in manifest["inputs"]]
    outputs = [(each["name"], each.get("shape")) for each in manifest["outputs"]]
    source = manifest["lineage"]["config"].get("source")
    if source != "keras" or inputs != [("lines", [8, 8])] or outputs != [("digit", [10])]:
        raise Mistake(
            "wrong_bundle", source=source or manifest["task"], inputs=describe(inputs), outputs=describe(outputs)
        )
    return path


def describe(specs: Sequence[tuple[str, object]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in specs)[:100]


def engine_of(work: Work) -> Any:
    """What computes the bundle's graph, opened as a server opens it."""
    from deepseek.engines.onnx_file import GraphEngines, open_file

    file = open_file(bundle_of(work) / "model.onnx", work.place.scratch / "onnx")
    return GraphEngines.open(file.spec())


def bundle_chances(work: Work, pictures: Pictures) -> NDArray[np.float64]:
    engine = engine_of(work)
    try:
        chances: NDArray[np.float64] = np.asarray(engine.run({"lines": pictures})["digit"], float)
    finally:
        engine.close()
    return chances


def differing(work: Work, pictures: Pictures) -> tuple[int, float]:
    """How many pictures get other chances by the bundle than by the colleagues' net, and by how much at most."""
    off = np.abs(bundle_chances(work, pictures) - net_of(work).chances(pictures)).max(1)
    off = np.where(np.isfinite(off), off, 1.0)
    return int((off > TOLERANCE).sum()), float(off.max())


def read_pictures(work: Work, name: str) -> Pictures:
    """The array `lines` of a file. Mistake where it holds no pictures."""
    from deepseek.data.table.npz import read_npz

    lines = read_npz(work.path(name), "data").get("lines")
    if lines is None or lines.ndim != 3 or lines.shape[1:] != (8, 8) or lines.dtype.kind not in "iuf":
        raise Mistake("no_pictures", name=name)
    return lines.astype(np.float32)
