"""Pictures of requests leave numbers in the log, and a lamp that is dimmed, a lens out of focus are found by them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageFilter

from deepseek.bundle.read import open_bundle
from deepseek.contracts import AnsweredRows, Event
from deepseek.errors import InputError
from deepseek.observe.drift.change import ALARM
from deepseek.observe.drift.drift import DriftReport, find_drift
from deepseek.observe.predictions.pictures import PARTS, file_size, measure_picture
from deepseek.observe.predictions.requests import keep_request
from deepseek.observe.predictions.rows import RowFormat, requests_to_table
from deepseek.observe.reading.tables import ReadLimits, open_logs
from support.rows.sampled import sampled_bundle
from support.servers.serving import started

pytest.importorskip("duckdb")
START_S = 1_767_225_600.0


def coded(picture: Image.Image, kind: str = "PNG") -> str:
    file = io.BytesIO()
    picture.save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


def parts_of(picture: Image.Image, kind: str = "PNG") -> dict[str, float]:
    measured = measure_picture(coded(picture, kind))
    assert measured is not None
    return dict(zip(PARTS, measured, strict=True))


def part(seed: int) -> Image.Image:
    """A bright part on a dark table, not always at the same place."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(60, 12, (64, 64, 3))
    top, left = rng.integers(8, 20, 2)
    pixels[top : top + 30, left : left + 34] += 120
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def test_the_numbers_are_those_of_the_picture() -> None:
    red = parts_of(Image.new("RGB", (60, 40), (255, 0, 0)))
    assert (red["width"], red["height"]) == (60, 40)
    assert red["brightness"] == pytest.approx(0.299)
    assert red["saturation"] == pytest.approx(1)
    assert (red["contrast"], red["sharpness"]) == pytest.approx((0, 0), abs=1e-12)
    columns = np.tile(np.repeat(np.array([0, 255], np.uint8), 16), (32, 1))
    halves = parts_of(Image.fromarray(columns))
    assert halves["brightness"] == pytest.approx(0.5)
    assert halves["wave 0.1"] < -0.1  # dark on the left
    assert halves["wave 1.0"] == pytest.approx(0, abs=1e-12)
    sharp, blurred = part(0), part(0).filter(ImageFilter.GaussianBlur(4))
    assert parts_of(sharp)["sharpness"] > 1.5 * parts_of(blurred)["sharpness"]
    assert parts_of(sharp, "JPEG")["brightness"] == pytest.approx(parts_of(sharp)["brightness"], abs=0.02)


def test_sixteen_bits_are_as_bright_as_eight() -> None:
    gray = np.arange(64 * 64).reshape(64, 64)
    deep = parts_of(Image.fromarray((gray * 16).astype(np.uint16)))
    assert deep["brightness"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("file", ["", "%%", "aGVsbG8=", coded(part(0))[:400]])
def test_what_is_no_picture_has_no_numbers(file: str) -> None:
    assert measure_picture(file) is None


def test_the_size_is_that_of_the_file() -> None:
    assert [file_size(base64.b64encode(bytes(number)).decode()) for number in range(5)] == [0, 1, 2, 3, 4]


def drift_of(bundle: Path, folder: Path, files: list[str], since: int) -> DriftReport:
    """Of the last `since` minutes of a log of a picture each minute."""
    opened = open_bundle(bundle)
    requests = []
    for number, file in enumerate(files):
        fields: Any = {"request_id": f"r{number}", "route": "predict", "digest": opened.digest, "method": "POST"}
        event = Event("request", opened.manifest.name, "1", 200, 1, 0.01, 0.0, fields)
        rows = AnsweredRows([{"photo": {"b64": file}, "age": float(number % 7)}])
        requests.append(keep_request(event, rows, START_S + 60 * number, keeps_inputs=True, keeps_files=True))
    table = requests_to_table(requests, RowFormat("host", "values", 1.0))
    assert table.schema.field("input.photo: brightness").type == pa.float64()
    pq.write_table(table, folder / "log.parquet")
    with open_logs([folder / "log.parquet"], ReadLimits(threads=1)) as logs:
        return find_drift(opened, logs, since_s=60.0 * since)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sampled_bundle(tmp_path_factory.mktemp("pictures") / "parts", ("photo", "age"))


@pytest.mark.slow
def test_a_dimmed_lamp_and_a_lens_out_of_focus_are_found_and_more_of_the_same_is_not(
    bundle: Path, tmp_path: Path
) -> None:
    past = [coded(part(number)) for number in range(600)]
    later = [part(number) for number in range(600, 720)]

    def joint(pictures: list[Image.Image]) -> float:
        report = drift_of(bundle, tmp_path, past + [coded(each) for each in pictures], since=120)
        assert report.unknown == ()
        assert report.joint is not None
        assert report.joint.changes is not None
        return report.joint.changes.p_value

    assert joint(later) > ALARM
    assert joint([each.point(lambda level: int(level * 0.85)) for each in later]) < ALARM
    assert joint([each.filter(ImageFilter.GaussianBlur(2)) for each in later]) < ALARM


@pytest.mark.slow
def test_a_server_logs_what_is_in_a_picture_and_not_the_picture(bundle: Path, tmp_path: Path) -> None:
    file = coded(part(0))
    with started(bundle, "--workers", "1", "--prediction-log", str(tmp_path / "log")) as server:
        body = {"instances": [{"photo": {"b64": file}, "age": 30, "sex": "m"}, {"photo": None, "age": 31, "sex": "m"}]}
        answer = httpx.post(f"{server.url}/v1/models/parts:predict", json=body, timeout=60)
        assert answer.status_code == 200, answer.text
        server.process.terminate()
        assert server.process.wait(60) == 0
    table = pa.concat_tables([pq.read_table(path) for path in (tmp_path / "log").rglob("*.parquet")])
    assert table["input.photo"].to_pylist() == [f"<file of {file_size(file)}>", None]
    brightness = table["input.photo: brightness"].to_pylist()
    assert brightness == [pytest.approx(parts_of(part(0))["brightness"]), None]


def test_a_bundle_of_which_nothing_can_be_compared_is_refused(tmp_path: Path, bundle: Path) -> None:
    requests = [keep_request(Event("request", "parts", "1", 200, 1), None, START_S, keeps_inputs=False)]
    pq.write_table(requests_to_table(requests, RowFormat("host", "values", 1.0)), tmp_path / "log.parquet")
    with (
        open_logs([tmp_path / "log.parquet"], ReadLimits(threads=1)) as logs,
        pytest.raises(InputError, match="has none of the columns"),
    ):
        find_drift(open_bundle(bundle), logs, any_version=True)
