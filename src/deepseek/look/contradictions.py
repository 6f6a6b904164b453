"""What test rows say against the rows that a model was chosen on: a figure that does not hold, a baseline that wins.

[entry.words() for entry in contradictions]
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from deepseek.look import numbers
from deepseek.look.words import Text
from deepseek.operating_point import Rate

if TYPE_CHECKING:
    from deepseek.contracts import JsonObject

_CHINESE = {
    "auc": "AUC", "average_precision": "平均精确率", "accuracy": "准确率", "macro_f1": "宏平均 F1",
    "log_loss": "对数损失", "brier": "Brier 分数", "rmse": "均方根误差", "mae": "平均绝对误差", "r2": "R²",
}  # fmt: skip
_ENGLISH = {"auc": "AUC", "rmse": "RMSE", "mae": "MAE", "r2": "R²"}


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A figure on the test rows, and what it contradicts."""

    kind: Literal["baseline", "validation"]  # the baseline is better there; or the figure is another on validation rows
    metric: str
    test: Rate  # of the model
    other: Rate  # of the baseline on the test rows, or of the model on the validation rows
    difference: Rate | None = None  # model minus baseline, on the same resamples
    validation: tuple[float, ...] | None = None  # of the model and of the baseline on the validation rows

    def __post_init__(self) -> None:
        if self.validation is not None and len(self.validation) != 2:
            raise ValueError("validation has not two figures")

    def to_dict(self) -> JsonObject:
        """The object that evidence/metrics.json holds."""
        return asdict(self)

    def words(self) -> Text:
        """The contradiction in one sentence."""
        english = _ENGLISH.get(self.metric, self.metric.replace("_", " "))
        chinese = _CHINESE.get(self.metric, self.metric)
        test, other = (numbers.figure(rate.value, rate.low, rate.high) for rate in (self.test, self.other))
        if self.kind == "validation":
            return Text(
                f"{english} is {test} on the test rows, and was {other} on the validation rows: it does not hold on "
                "new rows; believe the test rows",
                f"{chinese}在测试数据上为 {test}，在验证数据上为 {other}：验证结果在新数据上不成立，请以测试数据为准",
            )
        before = self.validation
        values = f"{numbers.number(self.test.value)} against {numbers.number(self.other.value)}"
        values_zh = f"{numbers.number(self.test.value)}，基线为 {numbers.number(self.other.value)}"
        on_validation = "" if before is None else f", {numbers.number(before[0])} against {numbers.number(before[1])}"
        on_validation_zh = (
            "" if before is None else f"（验证数据上为 {numbers.number(before[0])} 与 {numbers.number(before[1])}）"
        )
        return Text(
            f"the baseline is better on the test rows: {english} {values}, which the validation rows did not show"
            f"{on_validation}; bring more rows, or give the search less to choose among",
            f"测试数据上基线更好：{chinese} {values_zh}{on_validation_zh}；请提供更多数据，或减少候选模型",
        )
