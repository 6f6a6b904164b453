"""Columns of DATA that a model does not read: passed over, and said once; or refused.

A column that the model reads is never missing without a word: then nothing is passed over, for the extra one may be it
under another name, and the error that follows says which one is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deepseek.cli.support import output

if TYPE_CHECKING:
    from deepseek.data import Table
    from deepseek.engines import MultimodalRuntime, Runtime

MOST_NAMED = 10


@dataclass
class ExtraColumns:
    """What is passed over in the parts of one table."""

    reads: frozenset[str]  # the columns that the model reads
    knows: frozenset[str]  # with those that it was trained beside
    names: list[str] = field(default_factory=list)  # that were passed over, in the order of the table

    @classmethod
    def of(cls, runtime: Runtime | MultimodalRuntime) -> ExtraColumns:
        """For the rows of this model."""
        from deepseek.engines import Runtime

        if isinstance(runtime, Runtime):
            reads = [column.name for column in runtime.preprocessor.columns]
            return cls(frozenset(reads), frozenset((*reads, *runtime.preprocessor.ignored)))
        preparer = runtime.preparer
        return cls(frozenset(preparer.columns()), frozenset((*preparer.columns(), *preparer.ignored)))

    def pass_over(self, parts: Iterable[Table]) -> Iterator[Table]:
        """The parts without the columns that the model does not know, which are said on stderr before the first."""
        for place, part in enumerate(parts):
            if place == 0 and self.reads.issubset(part.names):
                self.names = [name for name in part.names if name not in self.knows]
                if self.names:
                    output.note(output.escape_text(describe_extra(self.names)))
            yield part.drop(self.names) if self.names else part


def describe_extra(names: list[str]) -> str:
    """One sentence.

    >>> describe_extra(["a", "b"])
    "passed over: the columns 'a', 'b', which the model does not read (--strict refuses them)"
    """
    listed = ", ".join(map(repr, names[:MOST_NAMED]))
    if len(names) > MOST_NAMED:
        listed += f" and {len(names) - MOST_NAMED} more"
    what, them = ("column", "it") if len(names) == 1 else ("columns", "them")
    return f"passed over: the {what} {listed}, which the model does not read (--strict refuses {them})"
