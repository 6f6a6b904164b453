"""The gallery: two thousand pictures on one small page, by class, by size and by what a model says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepseek.data.table.table import Table
from deepseek.data.view.gallery import MAX_PICTURES, PictureScore, draw_gallery, read_pictures
from deepseek.data.view.media_card import make_media_card
from deepseek.data.view.page import MAX_GALLERY_BYTES, MAX_PAGE_BYTES, DataPage, GalleryOptions, data_page
from deepseek.errors import InputError
from support.servers.browser import OpenPage, browser, collisions, open_page, overflow_px

__all__ = ["browser", "open_page"]  # fixtures

KINDS = {"photo": "image", "kind": "category"}


def picture(folder: Path, width: int, height: int, seed: int) -> str:
    """The name of a file of noise, which hardly compresses: the worst that a thumbnail can be."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    Image.fromarray(pixels).save(folder / f"{seed}.png")
    return f"{seed}.png"


def table_of(cells: list[str | None], kinds: list[str | None]) -> Table:
    return Table({"photo": np.array(cells, object), "kind": np.array(kinds, object)}, {"photo": "text", "kind": "text"})


def page_of(folder: Path, table: Table, options: GalleryOptions) -> DataPage:
    card = make_media_card(table, KINDS, root=folder)
    return data_page(table, KINDS, card, root=folder, name="parts.csv", num_rows=1, gallery=options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parts")


@pytest.fixture(scope="module")
def parts(folder: Path) -> Table:
    """Seven rows: pictures of several sizes, two classes; one is missing, one is broken, one has no class."""
    cells = [picture(folder, 16 * k, 16, k) for k in (3, 1, 2, 2)]
    (folder / "broken.png").write_text("no picture")
    last = picture(folder, 8, 4, 9)
    return table_of([*cells, None, "broken.png", last], ["dent", "dent", "scratch", "dent", "a", "b", None])


@pytest.mark.slow
def test_two_thousand_pictures_stand_on_one_page_of_bounded_size(tmp_path: Path) -> None:
    few = [picture(tmp_path, 40, 40, seed) for seed in range(50)]
    table = table_of([few[k % 50] for k in range(2_400)], [f"kind {k % 40}" for k in range(2_400)])
    rows = list(range(MAX_PICTURES))
    pictures = read_pictures(table, "photo", "image", rows, root=tmp_path, target="kind")
    gallery = draw_gallery(pictures, max_bytes=MAX_GALLERY_BYTES)
    assert len(pictures) == MAX_PICTURES
    size = len(gallery.html.encode()) + len(gallery.style.encode()) + len(gallery.script.encode())
    assert size <= MAX_GALLERY_BYTES < MAX_PAGE_BYTES
    assert gallery.html.count('role="listitem"') == len(gallery.rows) > 0
    assert gallery.rows == tuple(range(len(gallery.rows)))
    assert "other classes" in gallery.html  # forty classes have no forty buttons
    small = draw_gallery(pictures, max_bytes=300_000)
    assert 0 < len(small.rows) < len(gallery.rows)


def test_pictures_are_filtered_and_sorted_without_a_request(parts: Table, folder: Path, open_page: OpenPage) -> None:
    errors = {0: 0.1, 1: 0.9, 2: 0.5, 3: 0.2, 6: 0.7}
    scores = {row: PictureScore("dent", error, 1 - error) for row, error in errors.items()}
    options = GalleryOptions(target="kind", score=lambda rows: {row: scores[row] for row in rows if row in scores})
    gallery = page_of(folder, parts, options)
    assert gallery.pictures == (0, 1, 2, 3, 6)
    (folder / "scored.html").write_text(gallery.html, encoding="utf-8")
    page = open_page((folder / "scored.html").as_uri())

    def shown() -> list[str]:
        rows_shown: list[str] = page.locator("#gallery .thumb:visible").evaluate_all(
            "all => all.map(one => one.dataset.row)"
        )
        return rows_shown

    assert page.locator("#pictures p").first.inner_text() == "5 of 6 pictures of photo."
    assert shown() == ["0", "1", "2", "3", "6"]
    page.get_by_role("button", name="size").click()
    assert shown() == ["0", "2", "3", "1", "6"]
    page.get_by_role("button", name="error").click()
    assert shown() == ["1", "6", "2", "3", "0"]
    page.get_by_role("button", name="surprise").click()
    assert shown() == ["0", "3", "2", "6", "1"]
    page.get_by_role("button", name="dent 3").click()
    assert shown() == ["0", "3", "1"]
    page.locator("#gallery .thumb:visible").first.click()
    assert page.locator("#chosen").inner_text() == "#0 · 48 × 16 px · dent · → dent · error 0.1 · surprise 0.9"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_reads_well(parts: Table, folder: Path, open_page: OpenPage, width: int, dark: bool) -> None:
    (folder / "look.html").write_text(page_of(folder, parts, GalleryOptions(target="kind")).html, encoding="utf-8")
    page = open_page((folder / "look.html").as_uri(), width=width, dark=dark)
    assert overflow_px(page) <= 0
    assert collisions(page) == []
    thumbs = page.locator("#gallery .thumb")
    boxes = thumbs.evaluate_all(
        "all => all.map(one => one.getBoundingClientRect()).map(one => [one.width, one.height])"
    )
    assert {tuple(box) for box in boxes} == {(128, 64)}  # of the shape that most have
    assert page.get_by_role("button", name="error").count() == 0  # no model, no error
    assert page.get_by_role("button", name="no class 1").count() == 1


def test_a_gallery_of_a_column_without_pictures_is_refused(parts: Table, folder: Path) -> None:
    with pytest.raises(InputError, match=r"column 'kind' holds no pictures. Expected: photo"):
        page_of(folder, parts, GalleryOptions(column="kind"))
    with pytest.raises(InputError, match="phot"):
        page_of(folder, parts, GalleryOptions(column="phot"))
