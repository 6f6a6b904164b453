"""A Hugging Face folder of any encoder that transformers knows to a folder that is served without torch.

    done = convert(Path("deberta-v3"), Path("deberta-v3-served"))
    done.parity.difference, done.warnings

The graph is what torch records while transformers runs one batch (torch.onnx.export). Such a record can be true for
that batch alone: what depends on a length or on the padding may be frozen in it. So the folder is opened as a server
opens it, and its answers to texts of many lengths, alone and in padded batches, are held to those of transformers for
each text alone. A folder that differs is not kept. No code of the folder is run and no pickle is read.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepseek.bundle.place import exclusive_writer, is_vacant, replace_folder, temporary_folder
from deepseek.engines.text.convert.parity import Parity, compare_answers
from deepseek.engines.text.convert.tables import tabulate_buckets
from deepseek.engines.text.source.architecture import CONFIG_FILE
from deepseek.engines.text.source.convert_source import ConvertSource
from deepseek.engines.text.source.converted_folder import (
    GRAPH_FILE,
    INPUTS,
    OUTPUT,
    ModelSizes,
    is_converted,
    write_note,
)
from deepseek.engines.text.source.folder import files_digest, has_file
from deepseek.engines.text.source.library import SAFE_OPTIONS, TransformersLibrary
from deepseek.engines.text.source.tokens import SETTINGS_FILE, TOKENIZER_FILE, TextTokenizer
from deepseek.errors import InputError, TooLargeError
from deepseek.extras import need
from deepseek.version import __version__

EXTRA = "convert"
#: Of texts, unless more is asked for: attention takes memory by the square of it.
DEFAULT_MAX_TOKENS = 1024
#: A message of protocol buffers holds less than 2 GiB; the graph itself needs little beside the weights.
MAX_WEIGHT_BYTES = 2**31 - 2**26
OPSET = 17
Progress = Callable[[str, float], object]


@dataclass(frozen=True, slots=True)
class ConvertResult:
    """The folder that was written."""

    out: Path
    digest: str  # what a server calls it by
    task: str
    architecture: str
    max_tokens: int
    size_bytes: int
    cpu_s: float
    wall_s: float
    parity: Parity
    warnings: tuple[str, ...]


def convert(
    folder: Path, out: Path, *, max_tokens: int | None = None, overwrite: bool = False, progress: Progress | None = None
) -> ConvertResult:
    """Write the folder `out`, whole or not at all. `progress` is called with what is done and the share that is done.

    MissingError, IntegrityError or InputError for a source that is not whole, is served as it is or is no encoder;
    InputError for a target that is not free; CheckError when the answers differ; ExtraError without torch.
    """
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    source = ConvertSource.read(folder)
    _check_target(source.folder, out, overwrite=overwrite)
    report = progress or (lambda *_: None)
    torch, openvino = need("torch", extra=EXTRA), need("openvino", extra=EXTRA)
    loader = TransformersLoader(source)
    target = out.resolve()
    with exclusive_writer(target), temporary_folder(target) as temporary:
        report("reading the weights", 0.05)
        model = loader.open()
        sizes, warning_texts = loader.run(lambda: _model_sizes(source, model, max_tokens))
        _copy_files(source, loader, temporary, sizes)
        report("recording the graph", 0.2)
        loader.run(lambda: _export_onnx(torch, model, temporary / GRAPH_FILE, sizes.max_tokens))
        del model
        versions = {module.__name__: module.__version__ for module in (torch, openvino, loader.library)}
        note = {
            "task": source.task, "architecture": source.class_name, **asdict(sizes), "source": source.digest,
            "versions": {"deepseek": __version__, **versions},
        }  # fmt: skip
        write_note(temporary, note)
        report("comparing the answers", 0.4)
        model = loader.open()  # the other may have changed while it was recorded: some go by the first length
        parity = loader.run(
            lambda: compare_answers(
                temporary, _reference_forward(torch, model), lambda share: report("comparing the answers", share)
            )
        )
        names = write_note(temporary, note | {"parity": asdict(parity)})
        digest = files_digest(temporary, names)
        size_bytes = sum(path.stat().st_size for path in temporary.rglob("*") if path.is_file())
        _check_target(source.folder, out, overwrite=overwrite)
        replace_folder(temporary, target)
    return ConvertResult(
        out, digest, source.task, source.class_name, sizes.max_tokens, size_bytes,
        time.process_time() - start_cpu_s, time.perf_counter() - start_s, parity, tuple(warning_texts),
    )  # fmt: skip


class TransformersLoader:
    """Opens models with transformers, which raises what it likes."""

    def __init__(self, source: ConvertSource) -> None:
        self.source = source
        self._transformers = TransformersLibrary(extra=EXTRA)
        self.library = self._transformers.module

    def open(self) -> Any:
        """The model in float32. InputError for one that transformers does not know, or whose weights are not all there;
        TooLargeError."""
        model_type = str(self.source.config["model_type"])
        if model_type not in self.library.CONFIG_MAPPING:
            raise InputError(
                f"transformers {self.library.__version__} does not know the model_type {model_type[:60]!r}",
                expected="a model that it knows by itself: code in a folder is never run",
                fix="install a newer transformers, or export the model to ONNX and serve that file",
            )
        return self.run(self._load)

    def run(self, call: Callable[[], Any]) -> Any:
        """The result of a call. InputError for what transformers or torch raise."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a trace: the comparison judges it
                return call()
        except self._transformers.raised as error:
            reason = str(error).strip().splitlines() or ["no reason was given"]
            raise InputError(
                f"{self.source.folder} cannot be converted: {type(error).__name__}: {reason[0][:300]}",
                expected=f"an encoder that transformers {self.library.__version__} opens and torch can record",
                fix="save the model again with save_pretrained(), or export it to ONNX yourself and serve that file",
            ) from error

    def _load(self) -> Any:
        torch, folder = need("torch", extra=EXTRA), self.source.folder
        config = self.library.AutoConfig.from_pretrained(folder, **SAFE_OPTIONS)
        with torch.device("meta"):  # no memory for what a hostile config asks for
            shapes = self._transformers.auto(self.source.task).from_config(config, attn_implementation="eager")
        size_bytes = sum(part.numel() for part in shapes.parameters()) * 4
        if size_bytes > MAX_WEIGHT_BYTES:
            raise TooLargeError(
                f"the weights of {folder} take {size_bytes / 1e9:.1f} GB in float32",
                expected=f"at most {MAX_WEIGHT_BYTES / 1e9:.1f} GB in one ONNX file",
                fix="serve a smaller model of its kind",
            )
        return self._transformers.load(folder, self.source.task, dtype=torch.float32, attention="eager")

    def write_tokenizer(self, path: Path) -> None:
        """Write tokenizer.json from the older files of a tokenizer."""
        tokenizer = self.library.AutoTokenizer.from_pretrained(self.source.folder, **SAFE_OPTIONS)
        if not tokenizer.is_fast:
            raise ValueError(f"{type(tokenizer).__name__} has no tokenizer.json")
        tokenizer.backend_tokenizer.save(str(path))


def _recordable_module(torch: Any, model: Any) -> Any:
    """A module with the two inputs of the graph and its one output. Token types are made inside."""

    class EncoderGraph(torch.nn.Module):  # type: ignore[misc]  # torch is only here while it is installed
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask)[0]

    return EncoderGraph().eval()


def _export_onnx(torch: Any, model: Any, path: Path, max_tokens: int) -> None:
    ids = torch.arange(1, 34).reshape(3, 11) % int(model.get_input_embeddings().weight.shape[0])
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    mask[2, 3:] = 0
    axes = {name: {0: "N", 1: "L"} for name in INPUTS} | {OUTPUT: {0: "N"}}
    with tabulate_buckets(torch, max(max_tokens, ids.shape[1])), _silence_stdout():
        axes[OUTPUT] |= {} if _is_per_text(torch, model, ids, mask) else {1: "L"}
        torch.onnx.export(
            _recordable_module(torch, model), (ids, mask), str(path), input_names=list(INPUTS), output_names=[OUTPUT],
            dynamic_axes=axes, opset_version=OPSET, dynamo=False,
        )  # fmt: skip


@contextmanager
def _silence_stdout() -> Iterator[None]:
    """Discards what is written to stdout: torch's C++ prints the whole graph there when it fails, where one JSON object
    is promised."""
    sys.stdout.flush()
    stdout, null, flush = os.dup(1), os.open(os.devnull, os.O_WRONLY), ctypes.CDLL(None).fflush
    os.dup2(null, 1)
    try:
        yield
    finally:
        flush(None)
        os.dup2(stdout, 1)
        os.close(stdout)
        os.close(null)


def _is_per_text(torch: Any, model: Any, ids: Any, mask: Any) -> bool:
    """Whether the output is one row for each text, not for each token."""
    with torch.inference_mode():
        return int(model(input_ids=ids, attention_mask=mask)[0].ndim) == 2


def _reference_forward(torch: Any, model: Any) -> Callable[[Any], Any]:
    """A function of the ids of one text (L,): transformers' (1, L, H) or logits (1, C), (1, L, C), float32."""

    def run(ids: Any) -> Any:
        batch = torch.from_numpy(ids)[None]
        with torch.inference_mode():
            return model(input_ids=batch, attention_mask=torch.ones_like(batch))[0].float().numpy()

    return run


def _model_sizes(source: ConvertSource, model: Any, max_tokens: int | None) -> tuple[ModelSizes, list[str]]:
    """The sizes that the graph does not tell, and warnings for a person. InputError for a max_tokens out of range.

    RoBERTa and its like count positions from behind the padding's id.
    """
    config = model.config
    positions = getattr(config, "max_position_embeddings", None)
    most = positions if type(positions) is int and positions > 0 else 512
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            most = int(module.weight.shape[0]) - int(module.padding_idx) - 1
    cut = min(most, DEFAULT_MAX_TOKENS) if max_tokens is None else max_tokens
    if not 1 <= cut <= most:
        raise InputError(f"max_tokens is {cut}", expected=f"1 to {most}, what this model reads", fix="give less")
    warning = f"texts are cut at {cut:,} tokens; the model reads {most:,}: --max-tokens sets it"
    pad = getattr(config, "pad_token_id", None)
    hidden = getattr(config, "hidden_size", None)
    if type(hidden) is not int:
        raise InputError(
            f"{CONFIG_FILE} in {source.folder} has no hidden_size", expected="an encoder of texts", fix=_EXPORT_FIX
        )
    vocab_size = int(model.get_input_embeddings().weight.shape[0])
    sizes = ModelSizes(hidden, vocab_size, cut, pad if type(pad) is int and pad >= 0 else 0)
    return sizes, [warning] if cut < most else []


_EXPORT_FIX = "export the model to ONNX yourself and serve that file"


def _copy_files(source: ConvertSource, loader: TransformersLoader, folder: Path, sizes: ModelSizes) -> None:
    """Copy the files that a server reads besides the graph. IntegrityError for a tokenizer that does not fit."""
    if has_file(source.folder, TOKENIZER_FILE):
        TextTokenizer(source.folder, vocab_size=sizes.vocab_size, max_tokens=sizes.max_tokens)
    for name in (CONFIG_FILE, TOKENIZER_FILE, SETTINGS_FILE, *source.pooling.files):
        if has_file(source.folder, name) and not (folder / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.folder / name, folder / name)
    if not (folder / TOKENIZER_FILE).exists():
        loader.run(lambda: loader.write_tokenizer(folder / TOKENIZER_FILE))


def _check_target(source: Path, out: Path, *, overwrite: bool) -> None:
    """InputError unless the new folder may be written at `out`."""
    target, here = out.resolve(), Path.cwd()
    if target in (here, *here.parents, source.resolve(), *source.resolve().parents):
        raise InputError(
            f"{out} is the model's own folder, the one you are in, or holds it",
            expected="a folder of its own",
            fix="give the name of a new folder",
        )
    if not target.parent.is_dir():
        raise InputError(
            f"{out.parent}: there is no such folder", expected="a folder to write to", fix=f"mkdir -p {out.parent}"
        )
    if (target.exists() and not target.is_dir()) or not (is_vacant(target) or (overwrite and is_converted(target))):
        raise InputError(
            f"{out} is there already",
            expected="a new folder, or with --overwrite one that convert has made",
            fix="choose another folder, or empty it",
        )
