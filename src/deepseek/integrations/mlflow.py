"""MLflow: a bundle as a model that its tracking server logs, registers, loads and serves.

    info = log_model("loans", name="model", registered_model_name="loans")    # within mlflow.start_run()
    mlflow.pyfunc.load_model("models:/loans/1").predict(frame)                # prediction, probability_LABEL
    load_model("models:/loans/1")                                             # the runtime, with intervals and flags

Logged are the bundle byte for byte, its evidence as artifacts and its figures as metrics with both ends of their
intervals. Loading checks every byte as opening a bundle does. Nothing is pickled: the flavor names this module.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepseek.bundle import Bundle, open_bundle, verify_bundle
from deepseek.bundle.inspect import read_figures
from deepseek.bundle.place import exclusive_writer, replace_folder, temporary_folder
from deepseek.engines import open_runtime
from deepseek.errors import IntegrityError, MissingError
from deepseek.extras import need
from deepseek.files import cache_folder

if TYPE_CHECKING:
    from deepseek.engines import MultimodalRuntime, Runtime

FLAVOR, FOLDER = "deepseek", "bundle"  # the flavor's name in MLmodel, and where the bundle lies beside it
#: What a column of a bundle is called in a signature of MLflow.
_TYPES = {"float64": "double", "bool": "boolean", "str": "string", "datetime64[ms]": "datetime"}


def save_model(bundle: str | Path, path: str | Path, mlflow_model: Any = None) -> None:
    """Write a model of MLflow to the new folder `path`: the bundle with a file MLmodel beside it. IntegrityError for a
    bundle that is not whole."""
    models, pyfunc = need("mlflow.models", extra="track"), need("mlflow.pyfunc", extra="track")
    opened = _open_whole(Path(bundle))
    folder = Path(path)
    shutil.copytree(opened.path, folder / FOLDER)
    model = models.Model() if mlflow_model is None else mlflow_model
    model.signature = _signature(opened)
    model.add_flavor(FLAVOR, bundle=FOLDER, digest=opened.digest, task=opened.manifest.task)
    pyfunc.add_to_model(model, loader_module=__name__, data=FOLDER)
    model.save(str(folder / "MLmodel"))


def log_model(bundle: str | Path, *, name: str = "model", registered_model_name: str | None = None) -> Any:
    """Log a bundle to the active run (a new one without it) and, where a name is given, register it as its next
    version. Returns MLflow's ModelInfo."""
    import sys

    mlflow, models = need("mlflow", extra="track"), need("mlflow.models", extra="track")
    opened = _open_whole(Path(bundle))
    metrics, baseline = read_figures(opened)
    values = {
        key: figure[end]
        for prefix, figures in (("", metrics), ("baseline_", baseline))
        for metric, figure in figures.items()
        for end, key in (("value", f"{prefix}{metric}"), ("low", f"{prefix}{metric}_low"),
                         ("high", f"{prefix}{metric}_high"))
    }  # fmt: skip
    info = models.Model.log(
        artifact_path=None,
        name=name,
        flavor=sys.modules[__name__],
        bundle=str(opened.path),
        registered_model_name=registered_model_name,
    )
    client = mlflow.MlflowClient()
    for key, value in values.items():
        client.log_metric(info.run_id, key, value)
    for tag, text in (("deepseek.digest", opened.digest), ("deepseek.task", opened.manifest.task)):
        client.set_tag(info.run_id, tag, text)
    if (opened.path / "evidence").is_dir():
        client.log_artifacts(info.run_id, str(opened.path / "evidence"), "evidence")
    return info


def load_model(model_uri: str, dst_path: str | None = None) -> Runtime | MultimodalRuntime:
    """The runtime of a logged bundle: predict() gives a Prediction."""
    del dst_path  # a parameter of every flavor; bundles have a folder by their digest
    return open_runtime(fetch_bundle(model_uri))


def fetch_bundle(uri: str) -> Path:
    """The bundle behind a URI of MLflow (models:/NAME/VERSION, models:/NAME@ALIAS, runs:/ID/NAME), as a folder of the
    cache by its digest. MissingError for a model that is not there or that no bundle is in, IntegrityError for one that
    is not whole."""
    artifacts = need("mlflow.artifacts", extra="track")
    errors = need("mlflow.exceptions", extra="track").MlflowException
    with tempfile.TemporaryDirectory(prefix="deepseek-mlflow-") as scratch:
        try:
            folder = Path(artifacts.download_artifacts(artifact_uri=uri, dst_path=scratch))
        except (errors, OSError) as error:
            words = " ".join(str(error).split())
            raise MissingError(
                f"MLflow has no model at {uri}: {words[:300]}", expected="models:/NAME/VERSION, models:/NAME@ALIAS or "
                "runs:/ID/NAME of a bundle", fix="check the name, and MLFLOW_TRACKING_URI",
            ) from error  # fmt: skip
        if not (folder / FOLDER / "bundle.json").is_file():
            raise MissingError(
                f"the model at {uri} holds no bundle", expected="a model that deepseek.integrations.mlflow has logged",
                fix="log it with log_model()",
            )  # fmt: skip
        opened = _open_whole(folder / FOLDER)
        kept = cache_folder() / "mlflow" / opened.digest / opened.manifest.name
        if not (kept / "bundle.json").is_file() or verify_bundle(kept):
            kept.parent.mkdir(parents=True, exist_ok=True)
            with exclusive_writer(kept), temporary_folder(kept) as temporary:
                shutil.copytree(opened.path, temporary, dirs_exist_ok=True)
                replace_folder(temporary, kept)
    return kept


def _load_pyfunc(data_path: str) -> PyfuncBundle:
    """What mlflow.pyfunc.load_model() calls, by the name that MLmodel gives it."""
    return PyfuncBundle(Path(data_path))


class PyfuncBundle:
    """A bundle as MLflow's generic model: a frame in, a frame out."""

    def __init__(self, path: Path) -> None:
        self._runtime = open_runtime(path)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """A pandas frame with the columns of `deepseek predict`: prediction, probability_LABEL for each class, or for
        values lower and upper where there are intervals."""
        del params  # a parameter of every flavor
        pandas = need("pandas", extra="tabular")
        answer = self._runtime.predict(model_input)
        if answer.probabilities is None:
            columns = {"prediction": answer.values}
            if answer.intervals is not None:
                columns |= {"lower": answer.intervals[:, 0], "upper": answer.intervals[:, 1]}
            return pandas.DataFrame(columns)
        shares = {f"probability_{label}": answer.probabilities[:, i] for i, label in enumerate(answer.labels_known)}
        return pandas.DataFrame({"prediction": answer.labels, **shares})


def _open_whole(path: Path) -> Bundle:
    problems = verify_bundle(path)
    if problems:
        raise IntegrityError(
            f"{path} is not whole: {problems[0]}", expected="every byte as its maker wrote it", fix="copy it again"
        )
    return open_bundle(path)


def _signature(bundle: Bundle) -> Any:
    """The columns that a bundle reads, each may be missing, and what it answers, as MLflow's registry shows them."""
    models, types = need("mlflow.models", extra="track"), need("mlflow.types", extra="track")
    manifest = bundle.manifest
    inputs = [
        types.ColSpec(_TYPES.get(column.dtype, "string"), column.name, required=False) for column in manifest.inputs
    ]
    if manifest.labels:
        shares = [types.ColSpec("float", f"probability_{label}") for label in manifest.labels]
        outputs = [types.ColSpec("string", "prediction"), *shares]
    else:
        outputs = [types.ColSpec("float", "prediction")]
    return models.ModelSignature(types.Schema(inputs), types.Schema(outputs))
