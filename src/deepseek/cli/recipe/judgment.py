"""`deepseek recipe judgment`: facts, laws and a template become a draft whose every sentence of law carries its
clause."""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER

EPILOG = """\b
Examples:
  deepseek recipe judgment --example --out draft.docx --html draft.html
  deepseek recipe judgment facts.json --corpus laws/ --template judgment.txt --out draft.docx --html draft.html
  deepseek recipe judgment facts.json --corpus laws/ --check edited.docx --html checked.html --strict
  deepseek recipe judgment facts.json --corpus laws/ --template judgment.txt --out draft.docx --json-file draft.json
  --key key
"""


@click.command(epilog=EPILOG, short_help="Facts and a template become a draft with its clauses.")
@click.argument("facts", type=FILE, required=False)
@click.option("--example", is_flag=True, help="Run on a case and a short code of law of our own.")
@click.option("--chinese", is_flag=True, help="The example in Chinese.")
@click.option("--corpus", type=FOLDER, help="A folder of laws (.txt, .md, .parquet), or one file.")
@click.option("--template", type=FILE, help="Text with slots: {{path}}, {{law: LAW | ARTICLE}}, {{if path}}...{{end}}.")
@click.option("--check", "draft", type=FILE, help="Check this draft (.docx, .txt), which was edited, and make none.")
@click.option("--out", type=FILE, help="Write the draft there, as DOCX.")
@click.option("--html", type=FILE, help="Write the page there.")
@click.option("--json-file", type=FILE, help="Write what --json prints there.")
@click.option("--key", type=FILE, help="Private key that signs what is written: FILE.sig beside each (see verify).")
@click.option("--strict", is_flag=True, help="Exit with 3 when a sentence needs a look.")
@output.json_option
def command(
    facts: Path | None, example: bool, chinese: bool, corpus: Path | None, template: Path | None, draft: Path | None,
    out: Path | None, html: Path | None, json_file: Path | None, key: Path | None, strict: bool, as_json: bool,
) -> None:  # fmt: skip
    """Draft a judgment or an opinion from FACTS (JSON with a date) by a template. Every sentence that states law is a
    clause word for word, in the version in force on the date of the facts; amounts, days and names are checked against
    the facts. What is not backed is marked. With --check the same is asked of a draft that was edited."""
    _check_usage(facts, corpus, template, draft, out, example=example)
    from deepseek.citations import Corpus
    from deepseek.explain.report.document import check_output_paths, sign_outputs, write_document
    from deepseek.extras import need
    from deepseek.files import atomic_file
    from deepseek.recipes.judgment.example import write_example
    from deepseek.recipes.judgment.facts import read_facts
    from deepseek.recipes.judgment.page import render_page
    from deepseek.recipes.judgment.run import check_draft, draft_judgment
    from deepseek.recipes.judgment.template import read_template
    from deepseek.recipes.judgment.word import read_draft, write_word

    places = [path for path in (out, html, json_file) if path is not None]
    check_output_paths(places, key)
    if out is not None:
        need("docx", extra="documents")
    line = shlex.join(["deepseek", *sys.argv[1:]])
    with tempfile.TemporaryDirectory(prefix="deepseek-judgment-") as scratch:
        if facts is None or corpus is None:
            paths = write_example(Path(scratch), chinese=chinese)
            facts, corpus, template = paths.facts, paths.corpus, paths.template
        known, laws = read_facts(facts), Corpus.read(corpus)
        form = None if template is None else read_template(template)
        if draft is not None:
            result = check_draft(read_draft(draft), known, laws, form, command=line)
        elif form is not None:
            result = draft_judgment(known, laws, form, command=line)
        else:
            raise click.UsageError("give --template to make a draft, or --check to check one")
    if out is not None:
        write_word(out, result)
    if html is not None:
        with atomic_file(html) as part:
            part.write_text(render_page(result), encoding="utf-8")
    if json_file is not None:
        write_document(json_file, result.to_dict())
    sign_outputs(places, key)
    output.note_written({"draft": out, "page": html, "same as JSON": json_file}, is_signed=key is not None)
    if strict and result.checked.to_review:
        from deepseek.errors import CheckError

        unmet = CheckError(
            f"{len(result.checked.to_review)} of {len(result.checked.sentences)} sentences need a look",
            expected="law word for word, and facts as they are known",
            fix="correct them, or leave out --strict",
        )
        output.emit_unmet(result, unmet, as_json, result.summary_parts)
    output.emit(result, as_json, result.summary_parts)


def _check_usage(
    facts: Path | None,
    corpus: Path | None,
    template: Path | None,
    draft: Path | None,
    out: Path | None,
    *,
    example: bool,
) -> None:
    """UsageError for options that do not go together."""
    if (facts is None) == (not example):
        raise click.UsageError("give either FACTS or --example, not both and not neither")
    if not example and corpus is None:
        raise click.UsageError("--corpus is missing: the laws that may be cited")
    if not example and template is None and draft is None:
        raise click.UsageError("give --template to make a draft, or --check to check one")
    if draft is None and out is None:
        raise click.UsageError("--out is missing: where the draft is written")
    if draft is not None and out is not None:
        raise click.UsageError("--check makes no draft: leave --out out, and add --html for the page")
