"""A folder of pictures by class, and the rectangles that are read of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from deepseek.data.media.image import ImageReader
from deepseek.data.media.image_folder import CropConfig, ImageFolder, center_crop, random_crop
from deepseek.data.media.source import BrokenError, Source
from deepseek.errors import InputError, MissingError
from support.rows.mixed import picture

Image = pytest.importorskip("PIL.Image")
HEIGHT, WIDTH = 120, 200


def test_classes_are_the_folders_in_their_order(tmp_path: Path) -> None:
    for name in ("cat", "ant"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "1.JPEG").write_bytes(picture(1))
    (tmp_path / "cat" / "0.jpg").write_text("no picture")
    (tmp_path / "cat" / "notes.txt").write_text("of no use")
    folder = ImageFolder.open(tmp_path)
    assert folder.classes == ("ant", "cat")
    assert folder.files == ("ant/deep/1.JPEG", "cat/0.jpg", "cat/deep/1.JPEG")
    assert folder.labels.tolist() == [0, 1, 1]
    assert folder.read(2, ImageReader(size=(8, 6)), center_crop(1.0)).shape == (3, 8, 6)
    with pytest.raises(BrokenError, match=r"cat/0\.jpg"):
        folder.read(1, ImageReader(size=(8, 6)), center_crop(1.0))


def test_a_folder_that_is_none_or_holds_too_little_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no folder"):
        ImageFolder.open(tmp_path / "gone")
    with pytest.raises(InputError, match="holds 0 folders"):
        ImageFolder.open(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(InputError, match="holds no picture"):
        ImageFolder.open(tmp_path)


def test_rectangles_have_the_areas_and_ratios_of_torchvisions() -> None:
    torch = pytest.importorskip("torch")
    transforms = pytest.importorskip("torchvision.transforms")
    random = np.random.default_rng(0)
    ours = np.array([random_crop(CropConfig(), random)(HEIGHT, WIDTH) for _ in range(4_000)])
    torch.manual_seed(0)
    like, shape = torch.empty(3, HEIGHT, WIDTH), ([0.08, 1.0], [3 / 4, 4 / 3])
    theirs = np.array([transforms.RandomResizedCrop.get_params(like, *shape) for _ in range(4_000)])
    for what in (
        lambda c: c[:, 2] * c[:, 3],
        lambda c: np.log(c[:, 3] / c[:, 2]),
        lambda c: c[:, 0],
        lambda c: c[:, 1],
    ):
        for share in (0.05, 0.25, 0.5, 0.75, 0.95):
            spread = np.ptp(what(theirs))
            assert abs(np.quantile(what(ours), share) - np.quantile(what(theirs), share)) < 0.03 * spread
    assert (ours[:, 0] + ours[:, 2] <= HEIGHT).all()
    assert (ours[:, 1] + ours[:, 3] <= WIDTH).all()
    assert random_crop(CropConfig(least_share=1.0), random)(10, 100) == (0, 43, 10, 13)  # none fits


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_cut_is_of_the_upright_picture(orientation: int, form: str) -> None:
    """What the whole picture, scaled up, shows there."""
    stored, file = Image.open(io.BytesIO(picture(3))), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(file, form, exif=exif, **({"quality": 95} if form == "JPEG" else {}))
    source = Source("p", (("p", file.getvalue()),))
    size = (WIDTH, HEIGHT) if orientation >= 5 else (HEIGHT, WIDTH)
    upright = ImageReader(size=size).read(source).astype(int)
    cut = ImageReader(size=(40, 60)).read_crop(source, lambda height, width: (20, 30, 40, 60)).astype(int)
    assert np.abs(cut - upright[:, 20:60, 30:90]).mean() < 2


@pytest.mark.parametrize("knobs", [{"least_share": 0.0}, {"widest": 0.5}])
def test_a_knob_out_of_range_is_named(knobs: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(knobs))):
        CropConfig(**knobs)
