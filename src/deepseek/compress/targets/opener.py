"""Opens any model that can be compressed: an ONNX file, a user's torch module, a bundle, a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path

from deepseek.compress.targets.target import CompressionTarget
from deepseek.compress.targets.user_module import is_module_name
from deepseek.errors import InputError, MissingError


def open_target(
    model: str | Path,
    data: str | Path | None,
    *,
    seed: int = 0,
    train: str | Path | None = None,
    student: str | None = None,
) -> CompressionTarget:
    """Open the model at a path, or the torch module that `FILE.py:NAME` builds or `FILE.keras` holds. `train`: rows to
    train on; `student`: `FILE.py:NAME` of a smaller module to train on them.

    MissingError for a missing path; InputError for a model that cannot be compressed, or data that does not fit it.
    """
    if data is None:
        raise InputError(
            "there is no data to judge on",
            expected="rows that the model has not been trained on",
            fix="--data VALIDATION: .npz for tensors, a table for texts and bundles",
        )
    path, text, is_module = Path(model), str(model), is_module_name(model)
    data_path, train_path = Path(data), None if train is None else Path(train)
    is_model_folder = path.is_dir() and not (path / "bundle.json").exists()
    if train_path is not None and not is_module and not is_model_folder:
        raise InputError(
            f"{text} is not trained while it is compressed",
            expected="rows to train on for a Hugging Face folder or a module", fix="leave --train out",
        )  # fmt: skip
    if student is not None and (train_path is None or not is_module):
        raise InputError(
            "a student is given" + ("" if is_module else f", and {text} is no torch module"),
            expected="a module as its teacher, and rows to learn on: FILE.py:NAME --train TRAIN.npz",
            fix="give --train, or leave --student out: a Hugging Face folder makes a student of its own",
        )
    if is_module:
        from deepseek.compress.targets.module import ModuleTarget

        return ModuleTarget.open(text, data_path, seed=seed, train=train_path, student=student)
    if not path.exists():
        raise MissingError(
            f"there is no model at {text}",
            expected="a bundle, an ONNX file, a .keras file, a Hugging Face folder, or FILE.py:NAME",
            fix="check the path",
        )
    if path.suffix == ".onnx":
        from deepseek.compress.targets.onnx import OnnxTarget

        return OnnxTarget.open(path, data_path, seed=seed)
    if (path / "bundle.json").is_file():
        return _open_bundle_target(path, data_path, seed)
    if (path / "config.json").is_file():
        from deepseek.compress.targets.text import TextTarget

        return TextTarget.open(path, data_path, seed=seed, train=train_path)
    raise InputError(
        f"{path} is nothing that can be compressed",
        expected="a bundle, an ONNX file, a Hugging Face folder, or FILE.py:NAME of a function that builds a module",
        fix="give one of these",
    )


def _open_bundle_target(path: Path, data: Path, seed: int) -> CompressionTarget:
    """The target of a bundle of a table, of one that reads files or texts, or of one that finds defects."""
    from deepseek.bundle import open_bundle
    from deepseek.engines.multimodal.runtime import is_multimodal

    bundle = open_bundle(path)
    if bundle.manifest.task == "detection":
        from deepseek.compress.targets.detector import DetectorTarget

        return DetectorTarget.open(path, data, seed=seed)
    if is_multimodal(bundle):
        from deepseek.compress.targets.sample_bundle import SampleBundleTarget

        return SampleBundleTarget.open(path, data, seed=seed)
    from deepseek.compress.targets.bundle import BundleTarget

    return BundleTarget.open(path, data, seed=seed)
