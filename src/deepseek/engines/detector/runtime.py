"""Opens a bundle that looks at pictures, and answers for each: its score, boxes and heat map.

    with DetectorRuntime.open("line3") as runtime:
        inspection = runtime.inspect(runtime.read(Path("001.png")))

Main path: bytes -> pixels in their own size -> views -> graph -> boxes of the picture, doubles suppressed. torch is not
needed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from deepseek.bundle import Bundle, open_bundle
from deepseek.data.labels.pictures import open_picture
from deepseek.data.media.image import ImageReader
from deepseek.data.media.source import Source
from deepseek.engines.detector.config import CONFIG, GRAPH, NORM, DetectorConfig
from deepseek.engines.detector.inspection import Inspection, InspectionModel, Picture
from deepseek.errors import InputError


class DetectorRuntime:
    """An open bundle. Safe to share between threads."""

    def __init__(self, bundle: Bundle, *, num_threads: int = 1, lazy: bool = False) -> None:
        self.bundle, self.manifest = bundle, bundle.manifest
        self.name, self.version = bundle.manifest.name, bundle.manifest.version
        self.config = DetectorConfig.from_bytes(bundle.read(CONFIG))
        self._num_threads = num_threads
        self._model: InspectionModel | None = None
        self.image_reader = ImageReader(channels=self.config.num_channels, white=self.config.white)
        if not lazy:
            self._open_model()

    @classmethod
    def open(cls, path: str | Path, *, key: Path | None = None, num_threads: int = 1, lazy: bool = False) -> Self:
        """Errors as those of open_bundle(); InputError for a bundle that reads no pictures."""
        bundle = open_bundle(path, key=key)
        if not bundle.has(CONFIG):
            raise InputError(
                f"{path} does not look for defects", expected="a bundle of deepseek recipe defects",
                fix="give such a bundle",
            )  # fmt: skip
        return cls(bundle, num_threads=num_threads, lazy=lazy)

    def read(self, picture: Path | Source) -> Picture:
        """Pixels of one file. BrokenError for what is no picture."""
        source = open_picture(picture) if isinstance(picture, Path) else picture
        return self.image_reader.read_natural(source)

    def inspect(self, picture: Picture, reference: Picture | None = None) -> Inspection:
        """What is seen on a picture (C, H, W). InputError where the method needs a reference picture and there is none,
        or one of another size."""
        return self._open_model().inspect(picture, reference)

    def _open_model(self) -> InspectionModel:
        if self._model is None:
            self._model = open_model(self.bundle.read, self.config, num_threads=self._num_threads)
        return self._model

    def close(self) -> None:
        self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_model(read: Callable[[str], bytes], config: DetectorConfig, *, num_threads: int = 1) -> InspectionModel:
    """The model of a bundle whose files `read` gives by name."""
    graph = read(GRAPH)
    if config.method == "template":
        from deepseek.engines.detector.templates import PairModel

        return PairModel(graph, config, num_threads=num_threads)
    if config.method == "template_detector":
        from deepseek.engines.detector.templates import TemplateDetectorModel

        return TemplateDetectorModel(graph, config, num_threads=num_threads)
    if config.method == "patches":
        from deepseek.engines.detector.patches import PatchModel
        from deepseek.nn.detector.whole_picture import PictureNorm

        norm = None if config.score_units is None else PictureNorm.from_bytes(read(NORM))
        return PatchModel(graph, config, norm, num_threads=num_threads)
    from deepseek.engines.detector.boxes import BoxModel

    return BoxModel(graph, config, num_threads=num_threads)
