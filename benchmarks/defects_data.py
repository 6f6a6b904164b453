"""The three public sets of defects as folders of pictures with labels, as `deepseek recipe defects` takes them."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from zlib import crc32

import numpy as np
from fraud_features import data_folder
from PIL import Image

GOOD = "free"  # the class of magnetic tiles without a defect
HEADER = ["image", "class", "xmin", "ymin", "xmax", "ymax", "split"]
NEU_HELD = 11  # one of so many training pictures sets the thresholds
#: What sets the threshold of boards: a product, for two thirds of the test boards are of products that no trainval
#: board is of, and one of so many boards of the other products.
HELD_PRODUCT, BOARDS_HELD = "50600", 11
LEAST_REGION_PX = 4  # of a mask: less is a speck of its outline


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[list[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(rows)
    return path


def extract(archive: Path, names: dict[str, str], folder: Path) -> Path:
    """Members of a zip by their names there -> files of `folder`; what is there stays."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive) as members:
        known = {Path(name).name: name for name in members.namelist()} | {name: name for name in members.namelist()}
        for name, target in names.items():
            if not (folder / target).exists():
                (folder / target).write_bytes(members.read(known[name]))
    return folder


def neu(folder: Path, part: str) -> tuple[Path, Path]:
    """Pictures and labels of NEU-DET: `part` is train or test. Of the first some tenth is kept back."""
    source = data_folder() / "neu-det"
    rows = [row for row in read_rows(source / "boxes.csv") if row["split"] == part]
    name = f"neu-{part}"
    pictures = extract(source / "images.zip", {row["image"]: row["image"] for row in rows}, folder / name)
    columns = ("image", "class", "xmin", "ymin", "xmax", "ymax")
    is_held = {row["image"]: part == "train" and not crc32(row["image"].encode()) % NEU_HELD for row in rows}
    return pictures, write_rows(
        folder / f"{name}.csv",
        [[*(row[each] for each in columns), "val" if is_held[row["image"]] else ""] for row in rows],
    )


def is_held_board(pair: str) -> bool:
    return pair.startswith(HELD_PRODUCT) or not crc32(pair.encode()) % BOARDS_HELD


def boards(folder: Path, part: str) -> tuple[Path, Path]:
    """Boards of DeepPCB with their templates: `part` is trainval or test. Every board has a row, so that none is
    silent."""
    source = data_folder() / "deeppcb"
    pairs = [row["pair"] for row in read_rows(source / "pairs.csv") if row["split"] == part]
    names = {f"{pair}_{kind}.png": f"{pair}_{kind}.png" for pair in pairs for kind in ("test", "temp")}
    pictures = extract(source / "images.zip", names, folder / f"boards-{part}")
    boxes = [row for row in read_rows(source / "boxes.csv") if row["split"] == part]
    held = {pair: "val" if part == "trainval" and is_held_board(pair) else "" for pair in pairs}
    rows: list[list[object]] = [
        [f"{row['pair']}_test.png", row["class"], row["x1"], row["y1"], row["x2"], row["y2"], held[row["pair"]]]
        for row in boxes
    ]
    marked = {row["pair"] for row in boxes}
    rows += [[f"{pair}_test.png", "", "", "", "", "", held[pair]] for pair in pairs if pair not in marked]
    return pictures, write_rows(folder / f"boards-{part}.csv", rows)


def tiles(folder: Path, part: str, *, only_good: bool = False) -> tuple[Path, Path, Path]:
    """Magnetic tiles: pictures, boxes around the regions of their masks, and the masks. A defective tile whose mask is
    empty in the source gets one box around all of it."""
    from scipy import ndimage

    source = data_folder() / "magnetic-tile"
    index = [row for row in read_rows(source / "index.csv") if row["split"] == part]
    if only_good:
        index = [row for row in index if row["class"] == GOOD]
    name = f"tiles-{part}" + ("-good" if only_good else "")
    pictures, masks = folder / name, folder / f"{name}-masks"
    pictures.mkdir(parents=True, exist_ok=True)
    masks.mkdir(exist_ok=True)
    rows: list[list[object]] = []
    with zipfile.ZipFile(source / "images.zip") as archive:
        for row in index:
            picture, mask = f"{row['image']}.jpg", f"{row['image']}.png"
            (pictures / picture).write_bytes(archive.read(f"images/{picture}"))
            if row["class"] == GOOD:
                rows.append([picture, "", "", "", "", "", ""])
                continue
            data = archive.read(f"masks/{mask}")
            (masks / mask).write_bytes(data)
            marked = np.asarray(Image.open(io.BytesIO(data)).convert("L")) > 0
            labels, _ = ndimage.label(ndimage.binary_dilation(marked, iterations=2))
            regions = [place for place in ndimage.find_objects(labels) if marked[place].sum() >= LEAST_REGION_PX]
            if not regions:
                (masks / mask).unlink()
                regions = [(slice(0, marked.shape[0]), slice(0, marked.shape[1]))]
            rows += [[picture, row["class"], c.start, r.start, c.stop, r.stop, ""] for r, c in regions]
    return pictures, write_rows(folder / f"{name}.csv", rows), masks
