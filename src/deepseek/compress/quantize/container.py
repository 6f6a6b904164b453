"""8-bit weights in a safetensors file, embeddings included: a quarter of the bytes of float32.

    packed = pack(Path("minilm"), Path("minilm-fp8"))      # a Hugging Face folder; or a state dict
    packed.ratio                                           # float32 bytes / bytes now
    module.load_state_dict(unpack(Path("minilm-fp8")))     # float32 again

Every tensor of two or more axes becomes float8_e4m3fn (or e5m2, or int8) with one scale for each first index, in
float16 where all of its scales are normal numbers there; biases and norms stay. engines/text/source/packed.py reads it
without torch. Memory while it is served is that of float32: what is saved is disk, image and transfer.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepseek.bundle.place import exclusive_writer, is_vacant, replace_folder, temporary_folder
from deepseek.compress.quantize.grid import GRIDS, channel_scales, fits_float16, round_to_grid
from deepseek.contracts import JsonObject
from deepseek.engines.text.source.architecture import CONFIG_FILE
from deepseek.engines.text.source.folder import check_folder, has_file, read_object
from deepseek.engines.text.source.packed import PACKED_DTYPES, SCALE_SUFFIX, packed_config
from deepseek.engines.text.source.weights import INDEX_FILE, SINGLE_FILE, Weights
from deepseek.errors import InputError

#: Weights by name, as torch or as numpy arrays.
StateDict = Mapping[str, Tensor | NDArray[Any]]
PackedDtype = Literal["e4m3fn", "e5m2", "int8"]
_GRID_NAMES = {"e4m3fn": "fp8", "e5m2": "fp8_e5m2", "int8": "int8"}
_SAFETENSORS_DTYPES = {"e4m3fn": "F8_E4M3", "e5m2": "F8_E5M2", "int8": "I8"}
#: Files of a source folder that are copied: settings, tokenizers, and the modules of sentence-transformers.
_COPIED_SUFFIXES = frozenset({".json", ".txt", ".model", ".jinja", ".md"})


@dataclass(frozen=True)
class PackResult:
    """What pack() wrote."""

    out: Path
    packed: tuple[str, ...]  # names of tensors that are stored in 8 bits
    kept: tuple[str, ...]  # the others
    size_bytes: int  # of model.safetensors
    float32_bytes: int  # of the tensors alone, in float32

    @property
    def ratio(self) -> float:
        return self.float32_bytes / self.size_bytes


def pack(
    source: StateDict | str | Path,
    out: str | Path,
    *,
    dtype: PackedDtype = "e4m3fn",
    keep: Iterable[str] = (),
    drop: Iterable[str] = (),
    overwrite: bool = False,
) -> PackResult:
    """Write the folder `out`: model.safetensors and, from a folder, config.json, the tokenizer and its other settings.

    source: a state dict (tensors or arrays by name), or a Hugging Face folder with safetensors.
    keep: layers that are stored in bfloat16: names of tensors, or of modules that hold them.
    drop: names of tensors or modules that are left out because no answer needs them.

    InputError for a weight that is not finite or packed already, for a name in `keep` that is not there, and for a
    target that is not free; MissingError and IntegrityError for a source that is not whole.

    >>> import tempfile
    >>> packed = pack({"up.weight": torch.ones(64, 64), "up.bias": torch.zeros(64)}, tempfile.mkdtemp())
    >>> packed.packed, packed.kept
    (('up.weight',), ('up.bias',))
    """
    if dtype not in _GRID_NAMES:
        raise InputError(f"dtype is {repr(dtype)[:60]}", expected=", ".join(_GRID_NAMES), fix="give one of these")
    folder = None if isinstance(source, Mapping) else check_folder(source)
    target = Path(out).resolve()
    _check_target(target, folder, overwrite=overwrite)
    if isinstance(source, Mapping):
        weights = {name: torch.as_tensor(tensor) for name, tensor in source.items()}
    else:
        weights = _read_tensors(Path(source))
    dropped = _select_tensors(weights, tuple(drop))
    weights = {name: tensor for name, tensor in weights.items() if name not in dropped}
    exact = _select_tensors(weights, tuple(keep))
    tensors = _pack_tensors(weights, exact, dtype)
    packed = tuple(name for name in weights if name + SCALE_SUFFIX in tensors)
    target.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_writer(target), temporary_folder(target) as temporary:
        safetensors.torch.save_file(tensors, temporary / SINGLE_FILE, {"format": "pt"})
        if folder:
            layers = sorted(name.removesuffix(".weight") for name in exact if weights[name].dim() > 1)
            _copy_folder(folder, temporary, packed_config(_SAFETENSORS_DTYPES[dtype], layers))
        size_bytes = (temporary / SINGLE_FILE).stat().st_size
        _check_target(target, folder, overwrite=overwrite)
        replace_folder(temporary, target)
    float32_bytes = sum(
        4 * tensor.numel() if tensor.is_floating_point() else tensor.nbytes for tensor in weights.values()
    )
    return PackResult(target, packed, tuple(name for name in weights if name not in packed), size_bytes, float32_bytes)


def unpack(folder: str | Path) -> dict[str, Tensor]:
    """All tensors of a folder that pack() wrote, floats as float32, for load_state_dict(). IntegrityError for a file
    that is not whole, a scale that is missing or not above 0, and a value that is not finite."""
    weights = Weights.open(check_folder(folder))
    scales = {name + SCALE_SUFFIX for name in weights.names if weights.dtype(name) in PACKED_DTYPES}
    integers = {name for name in weights.names if not weights.is_float(name)}
    tensors = {
        name: torch.from_numpy(weights.array(name, weights.shape(name)).copy())
        for name in weights.names
        if name not in scales | integers
    }
    return tensors | (_load_tensors(weights, integers) if integers else {})


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    weights = Weights.open(folder)
    return _load_tensors(weights, set(weights.names))


def _load_tensors(weights: Weights, names: set[str]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for file in weights.files:
        if file != INDEX_FILE:
            with safetensors.safe_open(weights.folder / file, "pt") as handle:
                tensors |= {name: handle.get_tensor(name) for name in handle.keys() if name in names}  # noqa: SIM118
    return tensors


def _select_tensors(tensors: Mapping[str, Tensor], patterns: tuple[str, ...]) -> set[str]:
    """Names of the tensors that the patterns (names of tensors or of their modules) select. InputError for a pattern
    that selects none."""
    selected: set[str] = set()
    for pattern in patterns:
        matches = {name for name in tensors if name == pattern or name.startswith(f"{pattern}.")}
        if not matches:
            raise InputError(
                f"keep names {pattern[:100]!r}, of which there is no tensor",
                expected=f"the name of a tensor or of its module, such as {next(iter(tensors), '')!r}",
                fix="correct the name",
            )
        selected |= matches
    return selected


def _pack_tensors(tensors: Mapping[str, Tensor], exact: set[str], dtype: PackedDtype) -> dict[str, Tensor]:
    grid = GRIDS[_GRID_NAMES[dtype]]
    packed: dict[str, Tensor] = {}
    for name, source_tensor in tensors.items():
        _check_tensor(name, source_tensor, tensors)
        tensor = source_tensor.detach().cpu()
        if not tensor.is_floating_point() or tensor.dim() < 2 or tensor.numel() == 0:
            packed[name] = tensor.contiguous().clone()
        elif name in exact:
            packed[name] = tensor.to(torch.bfloat16).contiguous()
        else:
            scales = _shorten_scales(channel_scales(tensor, grid))
            packed[name] = round_to_grid(tensor.float() / scales.float(), grid).to(grid.dtype)
            packed[name + SCALE_SUFFIX] = scales.flatten(1)
    return packed


def _shorten_scales(scales: Tensor) -> Tensor:
    """The scales in float16 where all are normal numbers there: codes are rounded by the stored scales, so nothing is
    lost."""
    half = scales.to(torch.float16)
    return half if bool(fits_float16(half)) else scales


def _check_tensor(name: str, tensor: Tensor, tensors: Mapping[str, Tensor]) -> None:
    if (
        name + SCALE_SUFFIX in tensors
        or tensor.dtype == torch.int8
        or (tensor.is_floating_point() and tensor.itemsize == 1)
        or tensor.is_complex()
    ):
        raise InputError(
            f"the tensor {name[:100]!r} is {str(tensor.dtype).removeprefix('torch.')}"
            + (" and has scales" if name + SCALE_SUFFIX in tensors else ""),
            expected="weights in float32, bfloat16 or float16",
            fix="give the model that this one was made of",
        )
    if tensor.is_floating_point() and not tensor.isfinite().all():
        raise InputError(
            f"the tensor {name[:100]!r} holds NaN or infinity",
            expected="finite weights",
            fix="train or save the model again; such a model answers with nothing but NaN",
        )


def _check_target(target: Path, source: Path | None, *, overwrite: bool) -> None:
    working_folder = Path.cwd()
    if source is not None and target == source.resolve():
        raise InputError(f"{target} is the source itself", expected="a folder of its own", fix="give another name")
    if target == working_folder or target in working_folder.parents or (target.exists() and not target.is_dir()):
        raise InputError(f"{target} cannot be replaced", expected="the name of a new folder", fix="give another name")
    if not is_vacant(target) and not (overwrite and has_file(target, SINGLE_FILE)):
        raise InputError(
            f"{target} is not empty",
            expected="a new folder",
            fix="choose another, or replace the model (--overwrite; in Python overwrite=True)",
        )


def _copy_folder(folder: Path, out: Path, quantization: JsonObject) -> None:
    """Copy a Hugging Face folder without its weights, and add the quantization note to its config.json. Links are
    followed, for Hugging Face's cache consists of them."""
    for path in sorted(folder.glob("*")) + sorted(folder.glob("*/*")):
        relative = path.relative_to(folder)
        if not path.is_file() or path.name == INDEX_FILE or any(part.startswith(".") for part in relative.parts):
            continue
        is_weight = path.suffix == ".safetensors" and len(relative.parts) > 1  # of a module beside the transformer
        if is_weight or path.suffix in _COPIED_SUFFIXES:
            (out / relative).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, out / relative)
    config = read_object(folder, CONFIG_FILE) | {"quantization_config": quantization}
    (out / CONFIG_FILE).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8")
