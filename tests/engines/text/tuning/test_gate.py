"""The gate: measured once, kept by machine, model, tolerance and texts; nothing lossy passes that is not allowed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deepseek.engines.text import TextEngine, TextModel, Tolerance
from deepseek.engines.text.tuning import gate
from deepseek.engines.text.tuning.gate import PrecisionGate, built_in_texts, parse_tolerance, read_texts
from deepseek.errors import InputError, IntegrityError, MissingError, TooLargeError
from support.nets.textfolders import make_text_folder

TEXTS = ["the cat sat on a mat", "i am happy", "a very bad film, not good at all !", "berlin is big"] * 4
ANYTHING, NOTHING = Tolerance(-1, 1, 0), Tolerance(1, 0, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_text_folder(tmp_path_factory.mktemp("gate") / "model", "bert", "embedding")


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "_measure_in_process", in_this_process)
        patch.setattr(gate, "TIMING_BUDGET_S", 0.0)
        yield


def in_this_process(path: Path, texts: list[str], tolerance: Tolerance, place: Path) -> None:
    from dataclasses import asdict

    gate._write_choice({"path": str(path), "texts": texts, "tolerance": asdict(tolerance), "place": str(place)})


@pytest.mark.slow
def test_what_is_chosen_is_kept_and_opens_an_engine(folder: Path, tmp_path: Path) -> None:
    model = TextModel.open(folder)
    first = PrecisionGate(ANYTHING, TEXTS, tmp_path / "a" / "b").choose(model)
    assert {row["precision"] for row in first.table} >= {"f32", "int8"}
    kept = {path.name: path.read_bytes() for path in (tmp_path / "a" / "b").iterdir()}
    assert PrecisionGate(ANYTHING, TEXTS, tmp_path / "a" / "b").choose(model) == first
    assert {path.name: path.read_bytes() for path in (tmp_path / "a" / "b").iterdir()} == kept
    arrays = model.join(model.prepare(TEXTS[:2]))
    engine = TextEngine.from_options(folder, first.options)
    assert engine.precision == first.options["precision"]
    assert engine.run(arrays)["embedding"].shape[0] == 2


def test_ranges_travel_as_bytes(folder: Path) -> None:
    from deepseek.engines.text.serve.calibrate import calibrate
    from deepseek.engines.text.serve.quantize import ranges_to_bytes

    model, ranges = TextModel.open(folder), calibrate(folder, TEXTS)
    arrays = model.join(model.prepare(TEXTS[:2]))
    there = TextEngine.from_options(folder, {"precision": "int8", "ranges": ranges_to_bytes(ranges)}).run(arrays)
    here = TextEngine.open(folder, precision="int8", ranges=ranges).run(arrays)
    assert (there["embedding"] == here["embedding"]).all()
    with pytest.raises(IntegrityError):
        TextEngine.from_options(folder, {"precision": "int8", "ranges": b"x"})


@pytest.mark.slow
def test_nothing_lossy_passes_a_gate_that_is_shut(folder: Path, tmp_path: Path) -> None:
    result = PrecisionGate(NOTHING, TEXTS, tmp_path).choose(TextModel.open(folder))
    assert result.options == {"precision": "f32"}
    assert [row["precision"] for row in result.table if row["passes"]] == ["f32"]


def test_other_texts_tolerances_and_a_broken_cache_are_measured_anew(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Path] = []

    def note(path: Path, texts: list[str], tolerance: Tolerance, place: Path) -> None:
        measured.append(place)
        place.with_suffix(".json").write_text(json.dumps({"precision": "bf16", "table": []}))

    monkeypatch.setattr(gate, "_measure_in_process", note)
    model = TextModel.open(folder)
    for tolerance, texts in ((NOTHING, TEXTS), (NOTHING, TEXTS), (NOTHING, TEXTS[:4]), (ANYTHING, TEXTS)):
        assert PrecisionGate(tolerance, texts, tmp_path).choose(model).options == {"precision": "bf16"}
    assert len(set(measured)) == len(measured) == 3
    for broken in ('{"precision": "int8"', '{"precision": "int8", "table": []}', "[]"):  # cut, without ranges, other
        measured[0].with_suffix(".json").write_text(broken)
        assert PrecisionGate(NOTHING, TEXTS, tmp_path).choose(model).options == {"precision": "bf16"}
    assert measured[3:] == [measured[0]] * 3


def test_a_cache_that_cannot_be_written_to_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written to"):
        PrecisionGate(NOTHING, TEXTS, tmp_path / "file").choose(TextModel.open(folder))


@pytest.mark.parametrize("text", ["", "cosine", "cosine=x", "cosin=0.9", "cosine=0.9;agreement=1", "cosine=2"])
def test_words_that_are_no_tolerance_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_tolerance(text)


def test_limits_that_are_not_given_keep_their_defaults() -> None:
    assert parse_tolerance("agreement=0.9, difference=0.2") == Tolerance(max_difference=0.2, min_agreement=0.9)


def test_texts_are_read_from_a_file_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "texts"
    with pytest.raises(MissingError):
        read_texts(path)
    path.write_text("one\n\n二\n")
    assert read_texts(path) == ["one", "二"]
    for data, error in ((b"\n", InputError), (b"\xff", InputError), (b"a\n" * 1001, TooLargeError)):
        path.write_bytes(data)
        with pytest.raises(error):
            read_texts(path)


def test_the_built_in_texts_differ_in_length() -> None:
    lengths = np.array([len(text) for text in built_in_texts()])
    assert len(set(built_in_texts())) == len(lengths)
    assert lengths.max() > 20 * lengths.min()
