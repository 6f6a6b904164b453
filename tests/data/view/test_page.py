"""The page to look at data, opened in a real browser, on files of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from deepseek.data.media.source import Source
from deepseek.data.table.read import read_table
from deepseek.data.table.table import Table
from deepseek.data.view import page as view
from deepseek.data.view.media_card import find_all_kinds, make_media_card
from deepseek.data.view.previews import MAX_FRAMES, NUM_LINE_PARTS, SIDE_PX, envelope, make_preview
from support.pages.chinese import english_left_over
from support.rows import films, mixed, scans
from support.servers.browser import OpenPage, browser, collisions, open_page, overflow_px

__all__ = ["browser", "open_page"]  # fixtures


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("mixed")
    mixed.make_mixed(place)
    (place / "look.html").write_text(make_page(place).html, encoding="utf-8")
    return place


def make_page(place: Path, **options: int) -> view.DataPage:
    table = read_table(place / "mixed.csv")
    kinds = find_all_kinds(table, root=place, overrides={"note": "text"})
    card = make_media_card(table, kinds, root=place)
    return view.data_page(table, kinds, card, root=place, name="mixed.csv", command="deepseek data view", **options)


def source_of(path: Path) -> Source:
    return Source(path.name, ((path.name, path.read_bytes()),))


def scan_of(stored: np.ndarray, **tags: object) -> Source:
    return Source("ct", tuple(scans.series_of(stored, **tags).items()))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_reads_well_and_asks_for_nothing(folder: Path, open_page: OpenPage, width: int, dark: bool) -> None:
    page = open_page(f"file://{folder / 'look.html'}", width=width, dark=dark)
    page.locator("#rows > summary").click()
    assert page.title() == "Data: mixed.csv"  # the script in a text and in a name did not run
    assert overflow_px(page) <= 0
    assert collisions(page) == []
    assert page.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).length") == 0
    assert page.evaluate("Math.max(...[...document.images].map(i => Math.max(i.width, i.height)))") <= NUM_LINE_PARTS
    assert page.locator(".row figure").count() >= 25
    heads = page.locator("main h2").all_inner_texts()
    assert heads[:3] == ["Broken files", "Pictures", "Columns"]
    assert page.locator("summary", has_text="Rows").is_visible()  # open on demand: the gallery shows more at a glance
    assert "5 of 31 files are broken" in page.locator("#answer").inner_text()


def test_broken_files_stand_at_the_top_by_name(folder: Path, open_page: OpenPage) -> None:
    lines = open_page(f"file://{folder / 'look.html'}").locator("#broken li").all_inner_texts()
    assert [next(name for name in ("p1", "p2", "c3", "gone", "outside") if name in line) for line in lines] == [
        "p1", "p2", "c3", "gone", "outside",
    ]  # fmt: skip
    assert all("To mend it" in line for line in lines)


def test_the_page_has_no_english_left_over_in_chinese(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()} | set(read_table(folder / "mixed.csv").names)
    names |= {
        "gone.wav",
        "outside.png",
        str(folder),
        "the cough is dry and worse at night; ",
        "yes",
        "no",
        "night",
        "Maker",
    }
    names |= {mixed.HOSTILE_FILE, mixed.HOSTILE, "the cough is dry and worse at", "co"}
    assert english_left_over((folder / "look.html").read_text("utf-8"), names) == {}


def test_names_and_texts_are_escaped_and_cut(folder: Path, open_page: OpenPage) -> None:
    html = (folder / "look.html").read_text("utf-8")
    assert "<script>document" not in html
    assert "<img src=x" not in html
    page = open_page(f"file://{folder / 'look.html'}")
    page.locator("#rows > summary").click()
    assert mixed.HOSTILE_FILE in page.locator(".row").first.inner_text()
    notes = [text for text in page.locator("dd").all_inner_texts() if "病人咳嗽" in text]
    assert len(notes) == 10
    assert all(len(text) == view.MAX_TEXT_CHARACTERS and text.endswith("…") for text in notes)


def test_no_patient_is_on_it(folder: Path) -> None:
    html = (folder / "look.html").read_text("utf-8")
    assert mixed.PATIENT.split("^")[0] not in html
    assert "ID-4711" not in html


def test_each_kind_is_drawn(folder: Path, open_page: OpenPage) -> None:
    page = open_page(f"file://{folder / 'look.html'}")
    page.locator("#rows > summary").click()
    first = page.locator(".row").first.locator("figure")
    assert [first.nth(k).locator("img").count() for k in range(5)] == [1, 1, MAX_FRAMES, 3, 0]
    assert [first.nth(k).locator("svg").count() for k in range(5)] == [0, 1, 0, 0, 2]
    assert first.nth(0).locator("img").get_attribute("width") == "96"  # 8 pixels, enlarged by whole steps
    assert page.locator(".row").nth(8).locator("figure").first.inner_text() == "photo missing"


def test_printed_it_is_light_and_all_is_open(folder: Path, open_page: OpenPage) -> None:
    page = open_page(f"file://{folder / 'look.html'}", dark=True)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".switch").is_hidden()


def test_rows_are_drawn_by_seed(folder: Path) -> None:
    rows = [make_page(folder, num_rows=4, seed=seed).rows for seed in (0, 0, 1)]
    assert rows[0] == rows[1] == tuple(sorted(rows[0]))
    assert rows[0] != rows[2]


def test_a_full_page_says_so_and_stays_below_its_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "MAX_PAGE_BYTES", 120_000)
    page = make_page(folder)
    assert 0 < len(page.rows) < 10
    assert len(page.html.encode()) <= 120_000
    assert "the page is full at 120 kB" in page.html


def test_a_table_without_files_has_a_page(tmp_path: Path, open_page: OpenPage) -> None:
    table = Table({f"c{k}": np.arange(30.0) for k in range(80)}, {f"c{k}": "number" for k in range(80)})
    kinds = find_all_kinds(table, root=tmp_path)
    card = make_media_card(table, kinds, root=tmp_path)
    shown = view.data_page(table, kinds, card, root=tmp_path, name="t.csv", num_rows=3)
    (tmp_path / "t.html").write_text(shown.html, encoding="utf-8")
    page = open_page(f"file://{tmp_path / 't.html'}")
    assert page.locator("#answer").inner_text() == "t.csv: 30 rows, 80 columns, no files."
    assert (len(shown.rows), shown.pictures) == (3, ())
    assert page.locator("#pictures").count() == 0
    assert page.locator("#rows summary").first.inner_text() == "70 more values"
    assert page.locator("#broken").count() == 0


def test_pictures_keep_their_shape_and_stand_upright(tmp_path: Path) -> None:
    lying = Image.new("RGB", (400, 100), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.save(tmp_path / "a.jpg", exif=exif)
    (pixels,) = make_preview(source_of(tmp_path / "a.jpg"), "image").pictures
    assert pixels.shape[:2] == (SIDE_PX, 40)


def test_a_volume_has_one_scale_in_all_directions_and_the_head_on_top() -> None:
    stored = np.full((10, 40, 20), 24, np.int16)
    stored[8:] = 2_024  # slices ascend to the head
    axial, coronal, sagittal = make_preview(scan_of(stored, step=4.0), "volume").pictures
    assert (axial.shape, coronal.shape, sagittal.shape) == ((128, 64), (128, 64), (128, 128))
    assert coronal[:20].mean() > coronal[-20:].mean() + 50
    assert sagittal[:20].mean() > sagittal[-20:].mean() + 50


def test_a_single_slice_and_values_that_are_not_hounsfield_units() -> None:
    stored = np.arange(600, dtype=np.int16).reshape(1, 20, 30)
    (plane,) = make_preview(scan_of(stored, Modality="MR"), "volume").pictures
    assert plane.shape == (85, 128)
    assert plane[0].mean() < 40
    assert plane[-1].mean() > 200


def test_a_sound_is_shown_to_its_30th_second(tmp_path: Path) -> None:
    wave = np.sin(2 * np.pi * 500 * np.arange(31 * 4_000) / 4_000) * 0.5
    soundfile.write(tmp_path / "a.wav", wave, 4_000)
    preview = make_preview(source_of(tmp_path / "a.wav"), "audio")
    assert preview.shown_s == 30
    assert preview.lines[0].shape == (2, NUM_LINE_PARTS)
    assert np.abs(preview.lines[0]).max() == pytest.approx(0.5, abs=0.01)
    bright = preview.pictures[0].astype(int).sum((1, 2))
    assert preview.pictures[0].shape == (64, NUM_LINE_PARTS, 3)
    assert 64 - bright.argmax() == pytest.approx(64 * 588 / 1_499, abs=3)  # 500 Hz of 20 to 2,000 Hz, in mel


def test_silence_and_a_sound_of_three_samples_are_drawn(tmp_path: Path) -> None:
    for name, samples in (("silent.wav", np.zeros(4_000)), ("short.wav", np.array([0.1, -0.2, 0.3]))):
        soundfile.write(tmp_path / name, samples, 8_000)
        preview = make_preview(source_of(tmp_path / name), "audio")
        assert np.isfinite(preview.lines[0]).all()


def test_a_film_of_one_frame_and_one_that_is_turned() -> None:
    still = Source("a.mp4", (("a.mp4", films.film([0.0], lambda _: films.grey(99))),))
    assert [frame.shape for frame in make_preview(still, "video").pictures] == [(48, 64, 3)]
    turned = Source("b.mp4", (("b.mp4", films.film([k / 25 for k in range(9)], films.grey, turn=90)),))
    assert {frame.shape for frame in make_preview(turned, "video").pictures} == {(64, 48, 3)}


def test_a_series_keeps_its_gaps(tmp_path: Path) -> None:
    values = np.ones((500, 6))
    values[100:200, 0] = np.nan
    np.save(tmp_path / "s.npy", values)
    preview = make_preview(source_of(tmp_path / "s.npy"), "series")
    assert (len(preview.lines), preview.num_hidden) == (4, 2)
    assert 40 <= np.isnan(preview.lines[0][0]).sum() <= 50
    assert np.isnan(envelope(np.full(5, np.nan))).all()
