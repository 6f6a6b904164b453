"""Answers from a server that cannot read the rows: `deepseek predict --encrypted URL DATA --key K`.

asker = EncryptedAsker.open("http://127.0.0.1:8000", Path("clinic.ckks"))
prediction = asker.predict(table)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepseek.bundle.fields import parse_json_object, parse_value
from deepseek.contracts import Float64, Prediction
from deepseek.data import Preprocessor, Table
from deepseek.engines.decide import Decision
from deepseek.errors import CheckError, DeepseekError, IntegrityError, MissingError
from deepseek.extras import need
from deepseek.nn.model import Model, calibrate_margin
from deepseek.privacy.encrypted.ckks import LARGEST_MARGIN, CipherContext
from deepseek.privacy.encrypted.linear import InputPlan
from deepseek.privacy.encrypted.service import PublishedModel
from deepseek.privacy.encrypted.wire import CipherMessage, message_from_bytes, message_to_bytes

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class EncryptedAsker:
    """Who has rows and the key."""

    client: httpx.Client
    published: PublishedModel
    context: CipherContext
    preprocessor: Preprocessor
    plan: InputPlan

    @classmethod
    def open(cls, url: str, key: Path) -> EncryptedAsker:
        """Ask what the model needs; a secret key is made in the file `key` where there is none. InputError for a key of
        other parameters."""
        httpx = need("httpx", extra="privacy")
        client = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False)
        try:
            published = _fetch_model(client)
            context = _open_key(key, published)
        except DeepseekError:
            client.close()
            raise
        plan: InputPlan = parse_value(InputPlan, published.plan, "plan")
        return cls(client, published, context, Preprocessor.from_bytes(published.preprocess.encode()), plan)

    def predict(self, table: Table) -> Prediction:
        """Of the rows of a table. InputError for rows that do not fit the schema or are too far out; CheckError for
        answers that cannot be believed."""
        known = {column.name for column in self.preprocessor.columns} | set(self.preprocessor.ignored)
        batch = self.preprocessor.table(table.drop([name for name in table.names if name not in known]))
        margin = np.concatenate(list(self._margins(self.plan.inputs(batch.features))))
        if np.abs(margin).max(initial=0.0) > 2 * LARGEST_MARGIN:
            raise CheckError(
                "the answer cannot be decrypted by this key", expected=f"margins within {LARGEST_MARGIN:g}",
                fix="ask again; if it stays so, the server is not what it says",
            )  # fmt: skip
        published = self.published
        empty = Model(
            published.task, published.labels, published.scale, (), published.slope, published.bias,  # type: ignore[arg-type]
            smoothing=published.smoothing,
        )  # fmt: skip
        output = calibrate_margin(empty, margin).astype(np.float32)
        decision = Decision(empty.task, empty.labels, threshold=published.threshold)
        return replace(decision.apply(output), flags=batch.flags)

    def close(self) -> None:
        self.client.close()

    def _margins(self, inputs: Float64) -> Iterator[Float64]:
        """Margins (n, K) of inputs (N, D), a ciphertext's rows at a time."""
        num_slots = self.context.parameters.num_slots
        num_margins = len(self.published.labels) if self.published.task == "multiclass" else 1
        for start in range(0, len(inputs), num_slots):
            rows = inputs[start : start + num_slots]
            columns = tuple(self.context.encrypt(rows[:, place]) for place in range(rows.shape[1]))
            message = CipherMessage(self.published.digest, self.context.key_id, len(rows), columns)
            data = _ask(self.client, "POST", "/v1/encrypted/scores", message_to_bytes(message))
            answer = message_from_bytes(data, most_rows=num_slots)
            if (answer.model, answer.key_id, answer.num_rows, len(answer.columns)) != (
                message.model, message.key_id, message.num_rows, num_margins,
            ):  # fmt: skip
                raise IntegrityError(
                    "the answer is to other rows, of another key or of another model",
                    expected=f"{num_margins} ciphertexts of {len(rows)} rows", fix="ask again",
                )  # fmt: skip
            yield np.stack([self.context.decrypt(column, len(rows)) for column in answer.columns], axis=1)


def _fetch_model(client: Any) -> PublishedModel:
    top = parse_json_object(_ask(client, "GET", "/v1/encrypted/model"), "the model")
    published: PublishedModel = parse_value(PublishedModel, top, "the model")
    published.parameters.check()
    return published


def _open_key(key: Path, published: PublishedModel) -> CipherContext:
    """The secret key in a file, made there where there is none. CheckError for one of other parameters."""
    if not key.exists():
        CipherContext.generate(published.parameters).write(key)
    context = CipherContext.read(key)
    if context.parameters != published.parameters:
        raise CheckError(
            f"{key} is of other parameters than the model's", expected=f"{published.parameters}",
            fix="name a new file: a key of these parameters is made there",
        )  # fmt: skip
    return context


def _ask(client: Any, method: str, path: str, body: bytes = b"") -> bytes:
    """The body of a good response. MissingError where nobody answers, CheckError with the server's words else."""
    try:
        response = client.request(method, path, content=body)
    except need("httpx", extra="privacy").HTTPError as error:
        raise MissingError(
            f"{client.base_url} does not answer: {str(error)[:200] or type(error).__name__}",
            expected="a server that was started with --encrypted", fix="check the address",
        ) from error  # fmt: skip
    if response.status_code != 200:
        try:
            fields = parse_json_object(response.content, "the refusal").get("error", {})
        except IntegrityError:
            fields = {}
        raise CheckError(
            f"the server refuses: {fields.get('message', f'status {response.status_code}')}",
            expected=str(fields.get("expected", "a server that was started with --encrypted")),
            fix=str(fields.get("fix", "check the address")),
        )
    return bytes(response.content)
