"""Owen values of a black box over a hierarchy: regions are opened where the value is, until the error is small.

    owen = owen_values(value, Hierarchy((29,), borders))     value(masks (S, M)) -> (S,), masks say which players stay
    owen.values, owen.error, owen.is_partial         sum(values) = value(all) - value(none)

The Owen value (Owen 1977) is the Shapley value over the orders in which a region comes as a whole: a token's is the
mean of what it adds over the contexts "which siblings of its ancestors are there". A region with halves l and r, seen
in context c, splits what it adds, d(c):

    l adds d(c)/2 + t(c),  r adds d(c)/2 - t(c),     t(c) = (v(c+l) - v(c+r)) / 2,  for both orders of l and r

So V(l) = V/2 + mean of t over the contexts, and the sum is kept whatever contexts were looked at. They are looked at in
pairs, one and its complement, for then what regions do two by two comes out exactly; the first are "nothing else" and
"everything else". The mean of t is estimated with d as a control variate, whose own mean over all contexts is V.

Errors are standard errors of that mean, with the correction for a finite number of contexts; of a region that was never
opened, the spread that one player's share would have if all that it adds came of one of them. What is looked at next is
what takes most of these squared errors away for a call. Nothing is left to chance.

shap's PartitionExplainer (0.51) splits the same way and is not used: no error, no limit but a number of calls; it
shares evenly what it has not opened, though it has seen the same region open in other contexts, so that it lies further
from the exact values at as many calls (benchmarks/explain.py), and importing it takes 1.7 s of CPU and 290 MB.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.errors import InputError
from deepseek.explain.shapley.hierarchy import Box, Hierarchy, box_size

Masks = NDArray[np.bool_]
ValueFunction = Callable[[Masks], Float64]
CALLS_PER_UPDATE = 32  # calls between two looks at the errors
MAX_CONTEXT_DEPTH = 40  # levels of which contexts are told apart


@dataclass(frozen=True, slots=True)
class Budget:
    """How much the parts of one text, picture or row may take."""

    num_evaluations: int = 512  # answers of the model, 2 at least
    tolerance: float = 0.05  # largest error, as a share of the largest value, at which is stopped
    time_limit_s: float | None = None

    def __post_init__(self) -> None:
        if self.num_evaluations < 2:
            raise InputError(
                f"{self.num_evaluations} evaluations are allowed", expected="2 at least: of nothing and of everything",
                fix="allow more",
            )  # fmt: skip


SERVING_BUDGET = Budget(num_evaluations=256, time_limit_s=1.0)  # of a request's row: others wait behind it


@dataclass(frozen=True, slots=True)
class Region:
    """A region that was told apart from its neighbors, but whose players were not told apart from each other."""

    box: Box
    value: float  # what it adds
    error: float  # of that
    spread: float  # squared errors of its players together, of sharing its value evenly


@dataclass(frozen=True, slots=True)
class OwenValues:
    """Owen values of M players."""

    values: Float64  # (M,)
    error: Float64  # (M,)
    base: float
    output: float
    regions: tuple[Region, ...]
    num_evaluations: int
    is_partial: bool


@dataclass(eq=False, slots=True)
class _SearchNode:
    box: Box
    mask: Masks
    siblings: tuple[Masks, ...]  # of it and its ancestors, the nearest last
    parent: _SearchNode | None = None
    halves: tuple[_SearchNode, _SearchNode] | None = None
    adds: list[float] = field(default_factory=list)  # in the contexts that were seen
    pairs: dict[int, list[tuple[float, float]]] = field(default_factory=dict)  # by context: (d, t) of it and the other
    value: float = 0.0
    variance: float = 0.0
    spread: float = 0.0  # variance of the mean of t over one pair

    @property
    def size(self) -> int:
        return box_size(self.box)

    @property
    def num_pairs(self) -> int:
        """Pairs of contexts that there are."""
        return 1 << max(0, min(MAX_CONTEXT_DEPTH, len(self.siblings)) - 1)

    def other(self, context: int) -> int:
        """The complement of a context, whose bits say which siblings are there."""
        return context ^ ((1 << len(self.siblings)) - 1)

    def parents(self, *more: int) -> int:
        """In how many of its parent's pairs of contexts it was seen, or would be with `more`: those of one differ in
        one sibling alone, and tell little of the others."""
        if self.parent is None:
            return 1
        low = (1 << len(self.siblings) - 1) - 1
        return len({min(bits & low, self.parent.other(bits & low)) for bits in (*self.pairs, *more)})

    def context(self, bits: int) -> Masks:
        around = np.zeros_like(self.mask)
        for place, sibling in enumerate(self.siblings):
            if bits >> place & 1:
                around |= sibling
        return around

    def next_pair(self) -> int | None:
        """A context to look at: first nothing else (and everything else), then those that the parent was opened in,
        for half of their calls are known. None where the parent has to go first, or nothing is left."""
        if not self.pairs:
            return 0
        if self.parent is None or len(self.pairs) >= self.num_pairs:
            return None
        high = 1 << (len(self.siblings) - 1)
        for seen in self.parent.pairs:
            for bits in (seen, self.parent.other(seen)):
                if not {bits, self.other(bits)} & self.pairs.keys():
                    return bits
                if not {bits | high, self.other(bits | high)} & self.pairs.keys():
                    return bits | high
        return None


class _PartitionSearch:
    """The search: the regions that were evaluated, and every answer."""

    def __init__(self, value: ValueFunction, tree: Hierarchy, whole: float | None) -> None:
        """`whole`: what the root adds, where the last player, which is in no region, stands for all that is beside."""
        self.tree, self._value = tree, value
        self._known: dict[bytes, float] = {}
        mask = tree.mask(tree.root)
        beside: tuple[Masks, ...] = ()
        if whole is not None:
            mask = np.append(mask, False)
            beside = (np.append(np.zeros(len(mask) - 1, bool), True),)
        self.root = _SearchNode(tree.root, mask, beside)
        self.regions = [self.root]
        nothing, everything = np.zeros_like(mask), np.ones_like(mask)
        self.answer([nothing, everything])
        self.base, self.output = self[nothing], self[everything]
        self.root.value = self.output - self.base if whole is None else whole
        self.root.adds = [self.root.value]

    @property
    def num_evaluations(self) -> int:
        return len(self._known)

    def __getitem__(self, mask: Masks) -> float:
        return self._known[np.packbits(mask).tobytes()]

    def unknown_masks(self, masks: list[Masks]) -> list[Masks]:
        """The masks that were not evaluated yet."""
        keys = {np.packbits(mask).tobytes(): mask for mask in masks}
        return [mask for key, mask in keys.items() if key not in self._known]

    def answer(self, masks: list[Masks]) -> None:
        unknown = self.unknown_masks(masks)
        if not unknown:
            return
        answers = np.asarray(self._value(np.stack(unknown)), np.float64)
        if answers.shape != (len(unknown),) or not np.isfinite(answers).all():
            raise InputError(
                f"the model answers {answers.ravel()[:3].tolist()} with shape {answers.shape}",
                expected=f"({len(unknown)},) finite numbers", fix="see why the model gives no number there",
            )  # fmt: skip
        self._known |= {np.packbits(mask).tobytes(): each for mask, each in zip(unknown, answers.tolist(), strict=True)}

    def masks_of(self, region: _SearchNode, bits: int) -> list[Masks]:
        """The masks to evaluate to see a region open in a context and its complement."""
        left, right = self.halves(region)
        masks: list[Masks] = []
        for context in {bits, region.other(bits)}:
            around = region.context(context)
            masks += [around, around | region.mask, around | left.mask, around | right.mask]
        return masks

    def halves(self, region: _SearchNode) -> tuple[_SearchNode, _SearchNode]:
        """The halves of a region, made when they are first needed."""
        if region.halves is None:
            boxes = self.tree.halves(region.box)
            assert boxes is not None  # noqa: S101  (a single player is never opened)
            masks = [self.tree.mask(box) for box in boxes]
            if len(region.mask) > len(masks[0]):
                masks = [np.append(mask, False) for mask in masks]
            region.halves = (
                _SearchNode(boxes[0], masks[0], (*region.siblings, masks[1]), region),
                _SearchNode(boxes[1], masks[1], (*region.siblings, masks[0]), region),
            )
        return region.halves

    def record(self, region: _SearchNode, bits: int) -> None:
        """Record the answers to a region's masks in a context and its complement."""
        left, right = self.halves(region)
        if not region.pairs:
            self.regions += [left, right]
        region.pairs[bits] = []
        for context in {bits, region.other(bits)}:
            around = region.context(context)
            none, both = self[around], self[around | region.mask]
            first, second = self[around | left.mask], self[around | right.mask]
            region.pairs[bits].append((both - none, (first - second) / 2))
            left.adds += [first - none, both - second]
            right.adds += [second - none, both - first]

    def update(self) -> None:
        """Values and errors, from the root down: `regions` has every region behind its parent."""
        for region in self.regions:
            if not region.pairs:
                continue
            seen = np.array(list(region.pairs.values()))  # (k, 1 or 2, 2)
            d, t = seen[..., 0], seen[..., 1]
            square = float((d * d).sum())
            slope = float(np.clip((d * t).sum() / square, -0.5, 0.5)) if square > 0 else 0.0
            rest = t - slope * d
            means = rest.mean(1)
            count, whole = len(means), region.num_pairs
            # Half of what a context and its complement differ by stands for one pair, so that one alone has an error.
            within = float(np.ptp(rest[0]) / 2) ** 2
            region.spread = (within + float(((means - means.mean()) ** 2).sum())) / count
            variance = _variance_of_mean(region.spread, region.parents(), count, whole)
            tilt = slope * region.value + float(means.mean())
            for half, sign in zip(self.halves(region), (1.0, -1.0), strict=True):
                half.value = region.value / 2 + sign * tilt
                half.variance = (0.5 + sign * slope) ** 2 * region.variance + variance

    def spread_of(self, region: _SearchNode) -> float:
        """The squared error that the players of a region that was never opened have together."""
        most = max(region.value**2, float(np.square(region.adds).mean()))
        return most * (region.size - 1) / region.size

    def shares(self) -> tuple[Float64, Float64]:
        """Values and errors of the players."""
        values, variances = np.zeros(self.tree.shape), np.zeros(self.tree.shape)
        for region in self.leaves():
            place = tuple(slice(*side) for side in region.box)
            values[place] = region.value / region.size
            variances[place] = self.spread_of(region) / region.size + region.variance / region.size**2
        return values.ravel(), np.sqrt(variances).ravel()

    def leaves(self) -> list[_SearchNode]:
        return [region for region in self.regions if not region.pairs]

    def next_looks(self, most: int) -> list[tuple[_SearchNode, int]]:
        """The regions and contexts to evaluate next: those that take most squared error away for a call. At most `most`
        calls, but one look."""
        gains = {id(region): self._gain(region) for region in self.regions}
        for region in reversed(self.regions):  # who waits for its parent pushes it
            if region.parent is not None and region.next_pair() is None and len(region.pairs) < region.num_pairs:
                gains[id(region.parent)] += gains[id(region)] / 2
        order = sorted(self.regions, key=lambda region: -gains[id(region)])
        looks: list[tuple[_SearchNode, int]] = []
        calls = 0
        for region in order:
            bits = region.next_pair() if region.size > 1 else None
            if bits is None:
                continue
            calls += len(self.unknown_masks(self.masks_of(region, bits)))
            if looks and (calls > most or gains[id(region)] == 0.0):
                break
            looks.append((region, bits))
        return looks

    def _gain(self, region: _SearchNode) -> float:
        if region.size == 1:
            return 0.0
        if not region.pairs:
            return self.spread_of(region) / (4 if region.siblings else 2)
        count, whole = len(region.pairs), region.num_pairs
        if count >= whole:
            return 0.0
        bits = region.next_pair()
        more = region.parents() + 1 if bits is None else region.parents(bits)
        after = _variance_of_mean(region.spread, more, count + 1, whole)
        return (_variance_of_mean(region.spread, region.parents(), count, whole) - after) / 2


def owen_values(
    value: ValueFunction,
    tree: Hierarchy,
    *,
    whole: float | None = None,
    budget: Budget | None = None,
) -> OwenValues:
    """Owen values of the players of `tree`. Stops when no error is above the tolerance, or at a limit, which is
    partial.

    `whole`: with it masks have one player more, the last, for everything beside this input; it is what the input adds
    as one of all columns, and what its players' values sum to.

    InputError when the model gives no finite number.

    >>> value = lambda masks: masks @ np.array([1.0, 0.0, 0.0, 2.0]) + 3.0 * masks[:, 2:].all(1)
    >>> owen = owen_values(value, Hierarchy((4,)))
    >>> owen.values.tolist(), owen.error.tolist(), owen.is_partial
    ([1.0, 0.0, 1.5, 3.5], [0.0, 0.0, 0.0, 0.0], False)
    """
    limits, start = budget or Budget(), time.perf_counter()
    search = _PartitionSearch(value, tree, whole)
    is_partial = False
    while True:
        search.update()
        values, error = search.shares()
        if float(error.max()) <= limits.tolerance * float(np.abs(values).max()):
            break
        looks = search.next_looks(min(CALLS_PER_UPDATE, limits.num_evaluations - search.num_evaluations))
        masks = [mask for region, bits in looks for mask in search.masks_of(region, bits)]
        late = limits.time_limit_s is not None and time.perf_counter() - start > limits.time_limit_s
        if not looks:
            break
        if late or search.num_evaluations + len(search.unknown_masks(masks)) > limits.num_evaluations:
            is_partial = True
            break
        search.answer(masks)
        for region, bits in looks:
            search.record(region, bits)
    regions = tuple(
        Region(each.box, each.value, each.variance**0.5, search.spread_of(each)) for each in search.leaves()
    )
    return OwenValues(values, error, search.base, search.output, regions, search.num_evaluations, is_partial)


def _variance_of_mean(spread: float, apart: int, count: int, whole: int) -> float:
    """Variance of a mean over `count` of `whole` values, `apart` of which are independent."""
    return spread / apart * (1 - count / whole)
