"""Files that a browser does not show by itself, and masks: curves, sounds and scans are drawn, outlines are kept."""

from __future__ import annotations

import http.client
import io
import json
import struct
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")

from playwright.sync_api import Page, expect

from automl.label.test_label_page import begin, labels_of, serving
from deepseek.automl.label.page.preview import envelope, preview_file, read_slice
from deepseek.automl.label.page.server import LabelServer
from deepseek.automl.label.project.project import ProjectOptions
from deepseek.automl.label.verbs import new_project
from deepseek.data.media.source import BrokenError
from deepseek.errors import DeepseekError, InputError, IntegrityError
from support.servers.browser import OpenPage, browser, open_page, overflow_px

__all__ = ["browser", "open_page"]


def write_wav(path: Path, seconds: float = 0.5, rate_hz: int = 8_000, hertz: float = 440) -> Path:
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((16_000 * np.sin(2 * np.pi * hertz * times)).astype("<i2").tobytes())
    return path


def write_scan(path: Path, num_slices: int = 5) -> Path:
    """NIfTI-1 of float32: slice k is k everywhere, and 100 in one corner. Pixels of 1 x 1 mm, slices of 3 mm."""
    volume = np.zeros((num_slices, 12, 20)) + np.arange(num_slices)[:, None, None]
    volume[:, 0, 0] = 100
    header = bytearray(348)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, 20, 12, num_slices, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 16, 32)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 3, 1, 1, 1, 1)
    struct.pack_into("<f", header, 108, 352)
    struct.pack_into("<f", header, 112, 1)
    header[123] = 2  # millimeters
    struct.pack_into("<2h", header, 252, 0, 1)
    struct.pack_into("<12f", header, 280, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 3, 0)
    header[344:348] = b"n+1\0"
    path.write_bytes(bytes(header) + b"\0" * 4 + volume.astype("<f4").tobytes())
    return path


def test_of_each_stretch_the_peak_is_seen_and_gaps_stay_gaps() -> None:
    values = np.zeros(10_000)
    values[4_321], values[9_000:] = 7, np.nan
    low, high = envelope(values, 100)
    assert (len(low), max(value for value in high if value is not None), high.count(None)) == (100, 7.0, 10)
    assert envelope(np.array([3.0]), 600) == ([3.0], [3.0])


def test_a_series_a_sound_and_a_scan_are_told_as_json(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("hot,cold\n" + "\n".join(f"{k},{-k if k != 3 else ''}" for k in range(2_000)))
    series = preview_file(tmp_path / "a.csv", "series")
    assert [channel["name"] for channel in series["channels"]] == ["hot", "cold"]
    assert (series["num_moments"], series["num_missing"], len(series["channels"][0]["low"])) == (2_000, 1, 600)
    assert series["channels"][0]["high"][-1] == 1_999
    sound = preview_file(write_wav(tmp_path / "a.wav"), "audio")
    assert (sound["seconds"], max(sound["high"])) == (0.5, pytest.approx(16_000 / 2**15, abs=1e-3))
    assert sound["spectrogram"].startswith("data:image/png;base64,")
    scan = preview_file(write_scan(tmp_path / "a.nii"), "volume")
    assert (scan["num_slices"], scan["size"], list(scan["windows"])) == (5, [5, 12, 20], ["all"])
    json.dumps([series, sound, scan], allow_nan=False)


def test_a_slice_is_a_picture_between_the_ends_of_the_window(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(read_slice(write_scan(tmp_path / "a.nii"), 2, (1.0, 3.0)))))
    assert sorted(np.unique(pixels)) == [128, 255]
    # the first stored pixel is the patient's left and back: below on the right, as radiologists look
    assert np.argwhere(pixels == 255).tolist() == [[11, 19]]
    for place, window in ((5, (0.0, 1.0)), (0, (1.0, 1.0)), (0, (float("nan"), 1.0))):
        with pytest.raises(InputError):
            read_slice(tmp_path / "a.nii", place, window)


@pytest.mark.parametrize(("name", "kind"), [("a.csv", "series"), ("a.wav", "audio"), ("a.nii", "volume")])
@pytest.mark.parametrize("content", [b"", b"a,b\n1,x\n", b"RIFF" + bytes(40), bytes(400)])
def test_broken_files_are_told_in_words(tmp_path: Path, name: str, kind: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DeepseekError) as raised:
        preview_file(tmp_path / name, kind)
    assert isinstance(raised.value, InputError | BrokenError)


def make_project(tmp_path: Path, kind: str, task: str = "binary", labels: tuple[str, ...] = ("good", "bad")) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(4):
        if kind == "series":
            (folder / f"{number}.csv").write_text("heat\n" + "\n".join(str(k % (number + 2)) for k in range(50)))
        elif kind == "audio":
            write_wav(folder / f"{number}.wav", hertz=300 * (number + 1))
        elif kind == "volume":
            write_scan(folder / f"{number}.nii", num_slices=number + 3)
        else:
            pytest.importorskip("PIL.Image").fromarray(np.full((60, 90), 40 * number, np.uint8)).save(
                folder / f"{number}.png"
            )
    new_project(folder, tmp_path / "project", ProjectOptions(task, labels))  # type: ignore[arg-type]
    return tmp_path / "project"


def get(server: LabelServer, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    connection.request("GET", path, headers={"Deepseek-Person": "ann"})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def test_previews_are_asked_for_over_http_and_bad_places_are_refused(tmp_path: Path) -> None:
    with serving(make_project(tmp_path, "volume")) as server:
        status, content = get(server, "/preview/1/file")
        assert (status, json.loads(content)["num_slices"]) == (200, 3)
        assert get(server, "/slice/1/file?place=0&low=0&high=9")[1].startswith(b"\x89PNG")
        for path in (
            "?place=9&low=0&high=9",
            "?place=0&low=9&high=0",
            "?place=0&low=x&high=1",
            "?place=0",
            "?place=-1",
        ):
            assert get(server, f"/slice/1/file{path}")[0] == 422
        assert get(server, "/preview/1/nothing")[0] == 422


def test_a_folder_of_slices_is_one_scan_and_a_slice_that_is_gone_is_told(tmp_path: Path) -> None:
    scans = pytest.importorskip("support.rows.scans")
    for patient in range(3):
        (tmp_path / "scans" / f"p{patient}").mkdir(parents=True)
        volume = np.arange(4 * 5 * 6).reshape(4, 5, 6).astype(np.int16) + patient
        for name, content in scans.series_of(volume).items():
            (tmp_path / "scans" / f"p{patient}" / name).write_bytes(content)
    new_project(tmp_path / "scans", tmp_path / "project", ProjectOptions("binary", ("good", "bad")))
    with serving(tmp_path / "project") as server:
        assert [item.key for item in server.project.store.items()] == ["p0", "p1", "p2"]
        status, content = get(server, "/preview/2/file")
        assert (status, json.loads(content)["num_slices"]) == (200, 4)
        assert "lung" in json.loads(content)["windows"]
        assert get(server, "/slice/2/file?place=3&low=0&high=9")[0] == 200
        assert get(server, "/media/2/file")[0] == 422
        (tmp_path / "scans" / "p1" / "000.dcm").unlink()
        assert get(server, "/preview/2/file")[0] == IntegrityError.status


def test_curves_are_drawn_and_labeled_by_keys(tmp_path: Path, open_page: OpenPage) -> None:
    with (
        serving(make_project(tmp_path, "series")) as server,
        open_page(server.url, allow=server.url, width=390) as page,
    ):
        begin(page)
        expect(page.locator("svg.curve path")).to_have_count(1)
        expect(page.locator("figure.plot")).to_contain_text("heat0 …")
        expect(page.locator("figure.plot")).to_contain_text("50 moments")
        assert overflow_px(page) <= 0
        page.keyboard.press("1")
        expect(page.locator("#progress")).to_contain_text("1 of 4 labeled")
        assert labels_of(server) == [("ann", "label", "good")]


def test_a_sound_has_its_course_and_its_notes(tmp_path: Path, open_page: OpenPage) -> None:
    with serving(make_project(tmp_path, "audio")) as server, open_page(server.url, allow=server.url) as page:
        begin(page)
        expect(page.locator("svg.curve path")).to_have_count(1)
        expect(page.locator("img.bands")).to_have_js_property("naturalHeight", 64)
        expect(page.locator("#card .axis")).to_contain_text("0.5 s")


def shown_slice(page: Page) -> str:
    return page.locator(".place").inner_text()


def test_slices_of_a_scan_are_turned_by_keys_and_digits_still_label(tmp_path: Path, open_page: OpenPage) -> None:
    with serving(make_project(tmp_path, "volume")) as server, open_page(server.url, allow=server.url) as page:
        begin(page)
        expect(page.locator("img.slice")).to_have_js_property("naturalWidth", 20)
        place, num = map(int, shown_slice(page).split(" / "))
        assert place == num // 2 + 1
        page.keyboard.press("ArrowUp")
        assert shown_slice(page) == f"{place + 1} / {num}"
        page.keyboard.press("PageDown")
        assert shown_slice(page) == f"1 / {num}"
        page.locator(".slices input").focus()
        page.keyboard.press("2")
        expect(page.locator("#progress")).to_contain_text("1 of 4 labeled")
        assert labels_of(server) == [("ann", "label", "bad")]


def test_a_picture_is_zoomed_by_keys(tmp_path: Path, open_page: OpenPage) -> None:
    with serving(make_project(tmp_path, "image")) as server, open_page(server.url, allow=server.url) as page:
        page.locator("#person").fill("ann")
        page.keyboard.press("Enter")
        expect(page.locator("#card img")).to_have_js_property("naturalWidth", 90)
        before = page.evaluate("document.querySelector('#card .stage').clientWidth")
        page.keyboard.press("+")
        assert page.evaluate("document.querySelector('#card .stage').clientWidth") == pytest.approx(
            1.25 * before, abs=1
        )
        page.keyboard.press("-")
        assert page.evaluate("document.querySelector('#card .stage').clientWidth") == before


def test_masks_are_drawn_by_mouse_and_moved_by_keys(tmp_path: Path, open_page: OpenPage) -> None:
    with (
        serving(make_project(tmp_path, "image", "masks", ("dent", "scratch"))) as server,
        open_page(server.url, allow=server.url) as page,
    ):
        begin(page)
        expect(page.locator("svg.masks")).to_have_attribute("viewBox", "0 0 90 60")
        area = page.locator("svg.masks").bounding_box()
        assert area is not None

        def at(x: float, y: float) -> tuple[float, float]:
            return area["x"] + x / 90 * area["width"], area["y"] + y / 60 * area["height"]

        for x, y in ((10, 10), (50, 10), (50, 40)):
            page.mouse.click(*at(x, y))
        page.keyboard.press("Enter")
        expect(page.locator("svg.masks polygon")).to_have_count(1)
        page.keyboard.press("2")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("b")
        page.keyboard.press("Shift+Delete")
        page.mouse.move(*at(60, 20))
        page.mouse.down()
        for x, y in ((85, 20), (85, 50), (60, 50)):
            page.mouse.move(*at(x, y), steps=5)
        page.mouse.up()
        expect(page.locator("svg.masks polygon")).to_have_count(2)
        page.keyboard.press("Enter")
        expect(page.locator("#progress")).to_contain_text("1 of 4 labeled")
        [(_, _, (first, second))] = labels_of(server)
    assert first["label"] == "scratch"
    assert np.array(first["points"]) == pytest.approx(np.array([[11, 10], [50, 10], [50, 40]]), abs=0.3)
    # a stroke is kept as the corners that it has
    corners: Any = second["points"]
    assert 4 <= len(corners) <= 6
    assert np.ptp(np.array(corners), axis=0) == pytest.approx([25, 30], abs=2)
