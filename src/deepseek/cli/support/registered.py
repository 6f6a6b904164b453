"""Bundles that stand in a registry: MLflow's, or a cache of Hugging Face."""

from __future__ import annotations

HUB = "hf:"  # before ORG/NAME, and @REVISION behind it


def fetch_registered(text: str) -> str:
    """[NAME=]URI with the folder of its bundle in the place of models:/NAME/VERSION, models:/NAME@ALIAS, runs:/ID/NAME
    or hf:ORG/NAME[@REVISION]; any other text as it is. MissingError for what is not there.

    >>> fetch_registered("credit=loans/v2"), fetch_registered("model=models")
    ('credit=loans/v2', 'model=models')
    """
    name, equals, uri = text.partition("=") if "=" in text and ":/" not in text.partition("=")[0] else ("", "", text)
    if uri.startswith(HUB):
        from deepseek.integrations.huggingface import pull_bundle

        repository, _, revision = uri.removeprefix(HUB).partition("@")
        return f"{name}{equals}{pull_bundle(repository, revision=revision or 'main')}"
    if not uri.startswith(("models:/", "runs:/", "mlflow-artifacts:/")):
        return text
    from deepseek.integrations.mlflow import fetch_bundle

    return f"{name}{equals}{fetch_bundle(uri)}"
