"""What a verb of the Python API returns: an object with typed fields that reads like what the verb prints with --json.

>>> class Greeting(Result):
...     def to_dict(self):
...         return {"text": "hello"}
...     def summary(self):
...         return "1 < 2"
>>> greeting = Greeting()
>>> greeting["text"], list(greeting), greeting == {"text": "hello"}
('hello', ['text'], True)
>>> greeting._repr_html_()
'<pre>1 &lt; 2</pre>'
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # contracts brings numpy, which a bundle is read without
    from deepseek.contracts import JsonObject


class Result(Mapping[str, Any]):
    """The base of every verb's result. A subclass is `@dataclass(frozen=True, slots=True, eq=False)`: two results are
    equal where their JSON is."""

    __slots__ = ()

    @abstractmethod
    def to_dict(self) -> JsonObject:
        """The object that the verb prints with --json."""

    @abstractmethod
    def summary(self) -> str:
        """What the verb prints without --json."""

    def _repr_html_(self) -> str:
        """A notebook's cell shows the summary. A subclass that has a table or a plot shows that instead."""
        return f"<pre>{escape(self.summary())}</pre>"

    def __getitem__(self, key: str) -> Any:
        return self.to_dict()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_dict())

    def __len__(self) -> int:
        return len(self.to_dict())
