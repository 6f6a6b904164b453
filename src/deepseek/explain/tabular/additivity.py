"""Do the explanations hold? Their sum against the score, and what happens to the score when columns are taken away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import RESIDUAL_LIMIT, Attribution, Float32, Float64
from deepseek.errors import CheckError
from deepseek.explain.records import AblationCheck, AdditivityCheck, RowReport
from deepseek.look.numbers import number
from deepseek.look.words import Text

#: Columns that are taken away at once: this share of them, at least one.
ABLATED_SHARE = 0.2


class ColumnExplainer(Protocol):
    """What the ablation needs of an explainer."""

    names: tuple[str, ...]
    column_of: NDArray[np.int64]  # (F,) the place in `names` of each prepared feature's column

    def margin(self, features: Float32, *, target: str | None = None) -> Float64:
        """What explain() explains, (N,), without the explanation."""
        ...


def additivity(attribution: Attribution, *, limit: float = RESIDUAL_LIMIT) -> AdditivityCheck:
    """The residual as it is: its largest and mean size, the limit, and whether every row keeps to it."""
    size, relative = np.abs(attribution.residual), attribution.relative_residual
    return AdditivityCheck(
        max_abs_residual=float(size.max(initial=0.0)), mean_abs_residual=float(size.mean()) if len(size) else 0.0,
        max_relative_residual=float(relative.max(initial=0.0)), limit=limit, num_rows=len(size),
        passes=bool((relative <= limit).all()),
    )  # fmt: skip


def check_additivity(attribution: Attribution, *, limit: float = RESIDUAL_LIMIT) -> AdditivityCheck:
    """additivity(), or CheckError when a row's residual is above `limit` of what is explained."""
    check = additivity(attribution, limit=limit)
    if not check.passes:
        raise CheckError(
            f"explanations leave {number(check.max_abs_residual)} {attribution.scale} unexplained",
            expected=f"at most {limit:g} of what is explained",
            fix="do not use these explanations; report it with the kinds of the model's parts",
        )
    return check


def additivity_warnings(check: AdditivityCheck, rows: Sequence[RowReport], scale: str) -> list[Text]:
    """What a reader must know before anything else: explanations that do not add up, of many rows (`check`) and of
    single `rows`."""
    warnings = []
    if not check.passes:
        size, limit = number(check.max_abs_residual), f"{check.limit:g}"
        warnings.append(
            Text(
                f"These explanations do not add up: up to {size} {scale} of the output are left unexplained, more than "
                f"{limit} of what is explained. Do not rely on them.",
                f"这些解释不可依赖：基准值与各列贡献之和与输出最多相差 {size}，超过被解释量的 {limit}。",
            )
        )
    wrong = [row for row in rows if not row.adds_up]
    if wrong:
        names = ", ".join("?" if row.row_id is None else str(row.row_id) for row in wrong)
        size = number(max(abs(row.residual) for row in wrong))
        warnings.append(
            Text(
                f"The explanation of row {names} does not add up: up to {size} {scale} of the output are left "
                "unexplained. Do not rely on it.",
                f"第 {names} 行的解释不可依赖：基准值与各列贡献之和与输出最多相差 {size}。",
            )
        )
    return warnings


def ablation(
    explainer: ColumnExplainer, features: Float32, attribution: Attribution, *, seed: int = 0
) -> AblationCheck:
    """Does the score move more when the columns that matter most to a row are taken away, than when random ones are?

    A column is taken away by giving the row another row's values of it, so columns stay within their own
    distribution. `attribution` is that of `features`. "passes" is null where there is nothing to compare.
    """
    num_rows, num_columns = attribution.values.shape
    num_away = max(1, round(ABLATED_SHARE * num_columns))
    if num_columns < 2 or num_rows < 2:
        return AblationCheck(passes=None, why="it needs two rows and two columns")
    rng = np.random.default_rng(seed)
    ranked = np.argsort(-np.abs(attribution.values), axis=1, kind="stable")
    shuffled = rng.permuted(np.tile(np.arange(num_columns), (num_rows, 1)), axis=1)
    sets = {"most": ranked[:, :num_away], "random": shuffled[:, :num_away], "least": ranked[:, -num_away:]}
    donors = features[_derangement(num_rows, rng)]
    moved = {
        name: _mean_change(explainer, features, donors, columns, attribution.target) for name, columns in sets.items()
    }
    return AblationCheck(
        num_columns_taken_away=num_away, num_rows=num_rows, mean_change=moved,
        passes=bool(moved["most"] >= moved["random"]),
    )  # fmt: skip


def _mean_change(
    explainer: ColumnExplainer, features: Float32, donors: Float32, columns: NDArray[np.int64], target: str | None
) -> float:
    """Mean size of the change of the margin when each row's `columns` (N, k) come from its donor."""
    away = np.zeros((len(features), len(explainer.names)), bool)
    np.put_along_axis(away, columns, True, axis=1)
    mixed = np.where(away[:, explainer.column_of], donors, features)
    change = explainer.margin(mixed, target=target) - explainer.margin(features, target=target)
    return float(np.abs(change).mean())


def _derangement(num_rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Another row for every row: neighbors in a random circle."""
    circle = rng.permutation(num_rows)
    other = np.empty(num_rows, np.int64)
    other[circle] = np.roll(circle, 1)
    return other
