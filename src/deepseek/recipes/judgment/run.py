"""From facts, laws and a template to a draft whose every sentence is checked; or the same check of a draft that a
person
or a generator has changed.

    result = draft_judgment(facts, Corpus.read("laws"), template)
    result.checked.to_review            # the sentences that a person has to look at
    write_word(Path("draft.docx"), result)
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass

from deepseek.bundle import now
from deepseek.citations.corpus.corpus import Corpus
from deepseek.citations.retrieval.retriever import Index
from deepseek.citations.support.in_force import InForce, find_in_force
from deepseek.contracts import JsonObject
from deepseek.look.summary import format_value, render_text
from deepseek.look.terminal import escape_for_terminal
from deepseek.recipes.judgment.checking import CheckedSentence, CheckedText, check_text
from deepseek.recipes.judgment.facts import Facts
from deepseek.recipes.judgment.template import Template, Writer, fill_template
from deepseek.results import Result
from deepseek.version import __version__

MAX_SHOWN = 30  # sentences in the terminal


@dataclass(frozen=True, slots=True)
class DraftProvenance:
    """Of what a draft was made."""

    facts_sha256: str
    template: str  # its file's name; "" where a draft was only checked
    template_sha256: str
    corpus_digest: str  # of the versions that were in force
    date: str  # when it was made
    versions: dict[str, str]
    command: str


@dataclass(frozen=True, slots=True, eq=False)
class JudgmentDraft(Result):
    """What `deepseek recipe judgment` gives. It reads like its JSON."""

    checked: CheckedText
    facts: Facts
    law: InForce
    provenance: DraftProvenance

    def cited_clauses(self) -> list[str]:
        """The ids of the clauses that verbatim and applied sentences cite, each once, in their order."""
        return list(dict.fromkeys(each.id for sentence in self.checked.law for each in sentence.citations))

    def to_dict(self) -> JsonObject:
        """The object that --json prints."""
        cited = {(self.law.corpus[name].law, self.law.corpus[name].version) for name in self.cited_clauses()}
        return {
            "day": self.law.day, "num_sentences": len(self.checked.sentences), "num_law": len(self.checked.law),
            "num_verbatim": sum(each.status == "verbatim" for each in self.checked.sentences),
            "num_flagged": len(self.checked.to_review),
            "sentences": [_sentence_json(each) for each in self.checked.sentences],
            "clauses": [
                {"id": name, "text": self.law.corpus[name].text, "in_force_since":
                self.law.since(self.law.corpus[name])}
                for name in self.cited_clauses()
            ],
            "laws": [asdict(each) for each in self.law.versions if (each.law, each.version) in cited],
            "provenance": asdict(self.provenance), "text": self.checked.text,
        }  # fmt: skip

    def summary(self) -> str:
        return render_text(self.summary_parts())

    def summary_parts(self) -> list[object]:
        """How much is backed, then each sentence that a person has to look at."""
        law, flagged = self.checked.law, self.checked.to_review
        verbatim = sum(each.status == "verbatim" for each in law)
        backed = f"{format_value(verbatim)} of {format_value(len(law))} sentences that state law repeat a clause"
        rest = f"{format_value(len(flagged))} of {format_value(len(self.checked.sentences))} sentences need a look"
        lines: list[object] = [f"{backed} in force on {self.law.day}; {rest}"]
        for each in flagged[:MAX_SHOWN]:
            lines += [f"! {_one_line(each.text)}", f"    {each.status}: {_one_line(each.reason.en)}"]
        if len(flagged) > MAX_SHOWN:
            lines.append(f"and {len(flagged) - MAX_SHOWN} more: --json and --html list them")
        return lines


def draft_judgment(
    facts: Facts, corpus: Corpus, template: Template, *, write: Writer | None = None, index: Index | None = None,
    command: str = "",
) -> JudgmentDraft:  # fmt: skip
    """The draft of a template, checked. `index`: of the laws in force on that day, where there is one. InputError
    for facts that lack what the template needs, and for law that was not
    in the corpus or not in force on the day of the facts."""
    law = find_in_force(corpus, facts.day)
    text = fill_template(template, facts, law, write)
    checked = check_text(text, facts, law, index=index, known=template.text)
    return JudgmentDraft(checked, facts, law, _provenance(facts, law, template, command))


def check_draft(
    text: str, facts: Facts, corpus: Corpus, template: Template | None = None, *, command: str = ""
) -> JudgmentDraft:
    """The same check of a text that is there already; words of the template are no names. InputError for a text without
    words."""
    law = find_in_force(corpus, facts.day)
    checked = check_text(text, facts, law, known=template.text if template is not None else "")
    return JudgmentDraft(checked, facts, law, _provenance(facts, law, template, command))


def _provenance(facts: Facts, law: InForce, template: Template | None, command: str) -> DraftProvenance:
    name, digest = (template.name, template.sha256) if template is not None else ("", "")
    versions = {"deepseek": __version__, "python": platform.python_version()}
    return DraftProvenance(facts.sha256, name, digest, law.corpus.digest, now(), versions, command)


def _sentence_json(each: CheckedSentence) -> JsonObject:
    return {
        "text": each.text, "start": each.start, "end": each.end, "states_law": each.states_law, "status": each.status,
        "clauses": [citation.id for citation in each.citations], "reason": each.reason.en, "reason_zh": each.reason.zh,
    }  # fmt: skip


def _one_line(text: str) -> str:
    return escape_for_terminal(" ".join(text.split()), one_line=True)
