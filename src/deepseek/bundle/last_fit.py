"""Which rows the packed model was fitted on last, and which its figures are of, in words. In English and in Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from deepseek.bundle.fields import parse_value
from deepseek.look import numbers
from deepseek.look.words import Text

if TYPE_CHECKING:
    from deepseek.contracts import JsonObject


@dataclass(frozen=True, slots=True)
class LastFit:
    """The entry "last_fit" of evidence/metrics.json."""

    num_rows: int  # that the packed model was fitted on
    num_measured: int  # that the model was fitted on whose figures these are
    has_own_test: bool = False  # the test rows are the user's own, and were not fitted on
    num_boosted: int = 0  # that boosted trees were fitted on over a cluster, which holds more; 0: as many as the others

    @property
    def is_refitted(self) -> bool:
        """Whether the packed model has seen the test rows."""
        return self.num_rows > self.num_measured

    def words(self) -> Text:
        """One sentence, and another one where a cluster has fitted."""
        words = self._words_of_all()
        if not self.num_boosted:
            return words
        boosted = numbers.count(self.num_boosted)
        return Text(
            f"{words.en} Boosted trees were fitted on {boosted} rows, over the workers of a cluster.",
            f"{words.zh}提升树在集群的工作进程上用 {boosted} 行拟合。",
        )

    def _words_of_all(self) -> Text:
        rows, measured = numbers.count(self.num_rows), numbers.count(self.num_measured)
        if self.is_refitted:
            return Text(
                f"Fitted once more on all {rows} rows with the same settings; the figures are of the model of "
                f"{measured} rows, which had not seen the test rows.",
                f"以相同设置在全部 {rows} 行上重新拟合；指标来自用 {measured} 行拟合的模型，它没有见过测试数据。",
            )
        if self.has_own_test:
            return Text(
                f"Fitted on all {rows} rows of the data; the test rows are your own, and were not fitted on.",
                f"在全部 {rows} 行数据上拟合；测试数据由用户提供，未参与拟合。",
            )
        return Text(f"Fitted on {rows} rows, without the test rows.", f"在 {rows} 行上拟合，不含测试数据。")

    def to_dict(self) -> JsonObject:
        """The entry of evidence/metrics.json."""
        return {name: value for name, value in asdict(self).items() if name != "num_boosted" or value}

    @classmethod
    def from_metrics(cls, document: Mapping[str, object]) -> LastFit | None:
        """From evidence/metrics.json; None where an older release wrote it. InputError for what cannot be read."""
        entry = document.get("last_fit")
        if not isinstance(entry, dict):
            return None
        names = {field.name for field in fields(cls)}
        read: LastFit = parse_value(cls, {name: value for name, value in entry.items() if name in names}, "last_fit")
        return read
