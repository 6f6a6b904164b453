"""`deepseek convert`: an encoder that is not run here by itself as a folder that is served without torch."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FOLDER

EPILOG = """\b
Examples:
  deepseek convert deberta-v3-base --out deberta
  deepseek serve deberta
"""


@click.command(epilog=EPILOG, short_help="Make a text model servable without torch.")
@click.argument("hf_folder", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="Folder to write, which `deepseek serve` takes.")
@click.option(
    "--max-tokens", type=click.IntRange(1), help="Longest text.  [default: what the model reads, at most 1024]"
)
@click.option("--overwrite", is_flag=True, help="Replace a folder that convert has made.")
@output.json_option
def command(hf_folder: Path, out: Path, max_tokens: int | None, overwrite: bool, as_json: bool) -> None:
    """Convert a Hugging Face folder of an encoder, such as DeBERTa, ELECTRA, ALBERT, MPNet or ModernBERT.

    It needs torch and transformers (extra `convert`) and runs no code of the folder. Answers are held to those of
    transformers for texts of many lengths before the folder is kept. BERT, DistilBERT and RoBERTa are served as they
    are.
    """
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
