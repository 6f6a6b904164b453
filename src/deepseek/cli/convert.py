"""`deepseek convert`: a model of another framework as a bundle; an encoder as a folder that is served without torch."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER

EPILOG = """\b
Examples:
  deepseek convert model.keras --data rows.npz --out model
  deepseek convert saved_model --data rows.npz --out model --python .venv-tensorflow/bin/python
  deepseek convert splines.onnx --data rows.npz --operators libsplines.so --key release-key --out splines
  deepseek convert deberta-v3-base --out deberta
  deepseek serve deberta
"""


@click.command(epilog=EPILOG, short_help="Make a model of another framework servable.")
@click.argument("source", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="Folder to write, which `deepseek serve` takes.")
@click.option("--data", type=FILE, help="Rows on which the bundle must answer as the model: .npz, .csv or .parquet.")
@click.option("--python", type=FILE, help="Another Python, which has TensorFlow.  [default: this one]")
@click.option("--signature", help="Signature of a SavedModel.  [default: serving_default]")
@click.option("--name", help="Name of the model.  [default: that of the folder]")
@click.option("--key", type=FILE, help="Private key that signs the bundle (see keygen).")
@click.option("--operators", type=FILE, help="Library of onnxruntime with operators of your own; needs --key.")
@click.option(
    "--max-tokens", type=click.IntRange(1), help="Longest text of an encoder.  [default: what it reads, at most 1024]"
)
@click.option("--overwrite", is_flag=True, help="Replace a folder that convert has made.")
@output.json_option
def command(
    source: Path, out: Path, data: Path | None, python: Path | None, signature: str | None, name: str | None,
    key: Path | None, operators: Path | None, max_tokens: int | None, overwrite: bool, as_json: bool,
) -> None:  # fmt: skip
    """Convert SOURCE: a .keras file, a SavedModel folder, a .tflite, .pt2 or .onnx file, or a Hugging Face folder.

    The first five become a bundle of one ONNX graph, which needs none of the frameworks. It is held to the model's own
    answers on the rows of --data, and on others made of them; where they differ by more than 1e-4, nothing is written.
    No code of a file is run: Lambda layers and custom objects are refused by name. Operators of your own in an ONNX
    file are computed by the library of --operators, which the bundle carries; a server loads it only where it is told
    to trust the key that signed (serve --allow-operators).

    A folder of an encoder (DeBERTa, ELECTRA, ALBERT, MPNet, ModernBERT, ...) needs torch and transformers (extra
    `convert`) and no --data: it is held to transformers for texts of many lengths. BERT, DistilBERT and RoBERTa are
    served as they are.
    """
    if data is not None or source.is_file() or (source / "saved_model.pb").is_file():
        _check_options(source, {"--max-tokens": max_tokens is None}, data)
        from deepseek.engines.convert.bundle import ConvertOptions

        options = ConvertOptions(python, signature, name, overwrite, key, operators)
        _convert_model(source, data, out, options, as_json)  # type: ignore[arg-type]
        return
    unused = {"--data": data is None, "--python": python is None, "--signature": signature is None,
              "--name": name is None, "--key": key is None, "--operators": operators is None}  # fmt: skip
    _check_options(source, unused, None, is_encoder=True)
    _convert_encoder(source, out, max_tokens, overwrite, as_json)


def _check_options(source: Path, unused: dict[str, bool], data: Path | None, *, is_encoder: bool = False) -> None:
    """UsageError for an option of the other kind of source, and for a model without rows."""
    for option, is_unused in unused.items():
        if not is_unused:
            kind = "an encoder's folder" if is_encoder else "a model's file"
            raise click.UsageError(f"{option} has no meaning for {kind} ({source}). Leave it out.")
    if not is_encoder and data is None:
        raise click.UsageError(
            f"--data is missing: rows on which the bundle of {source} is held to the model. "
            "numpy.savez('rows.npz', INPUT=ROWS) writes them."
        )


def _convert_model(source: Path, data: Path, out: Path, options: object, as_json: bool) -> None:
    from deepseek.cli.support.progress import Progress
    from deepseek.engines.convert.bundle import ConvertOptions, convert_model

    assert isinstance(options, ConvertOptions)  # noqa: S101 - for mypy
    with closing(Progress()) as progress:
        done = convert_model(source, data, out, options, progress=progress)
    result = {
        "bundle": str(out), "digest": done.digest, "task": "tensors", "model": done.title, "engine": "onnxruntime",
        "export": done.export, "inputs": list(done.inputs), "outputs": list(done.outputs),
        "parity": {"num_rows": done.num_rows, **done.agreement.to_dict()}, "size_bytes": done.size_bytes,
        "cpu_s": done.cpu_s, "wall_s": done.wall_s, "warnings": [],
    }  # fmt: skip
    facts = [
        ("model", done.title), ("export", done.export), ("inputs", "; ".join(done.inputs)),
        ("outputs", "; ".join(done.outputs)),
        ("compared on", f"{done.num_rows} rows and {done.agreement.num_compared - done.num_rows} made of them"),
        ("largest difference", f"{done.agreement.difference:.2g} of the largest answer"),
        ("size", f"{done.size_bytes / 1e6:.1f} MB"), ("digest", done.digest),
    ]  # fmt: skip
    output.emit(result, as_json, lambda: [f"wrote {out}", output.fact_table(facts), f"deepseek serve {out}"])


def _convert_encoder(hf_folder: Path, out: Path, max_tokens: int | None, overwrite: bool, as_json: bool) -> None:
    from deepseek.cli.support.progress import Progress
    from deepseek.engines.text.convert.convert import convert

    with closing(Progress()) as progress:
        done = convert(hf_folder, out, max_tokens=max_tokens, overwrite=overwrite, progress=progress)
    output.warn(done.warnings)
    result = {
        "bundle": str(out),
        "digest": done.digest,
        "task": done.task,
        "model": done.architecture,
        "engine": "openvino",
        "max_tokens": done.max_tokens,
        "parity": asdict(done.parity),
        "size_bytes": done.size_bytes,
        "cpu_s": done.cpu_s,
        "wall_s": done.wall_s,
        "warnings": list(done.warnings),
    }
    output.emit(
        result,
        as_json,
        lambda: [
            f"wrote {out}",
            output.fact_table(
                [
                    ("model", done.architecture),
                    ("task", done.task),
                    ("longest text", f"{done.max_tokens:,} tokens"),
                    (
                        "compared on",
                        f"{done.parity.num_texts} texts in {done.parity.num_batches} batches",
                    ),
                    ("largest difference", f"{done.parity.difference:.2g} of {done.parity.largest:.3g}"),
                    ("least cosine", f"{done.parity.cosine:.7f}"),
                    ("size", f"{done.size_bytes / 1e6:.1f} MB"),
                    ("digest", done.digest),
                ]
            ),
            f"deepseek serve {out}",
        ],
    )
