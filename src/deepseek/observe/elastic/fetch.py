"""Pages of log lines by a point in time and search_after, written to a file as they come: memory holds one page.

Source: Elasticsearch's reference, "Paginate search results" and "Point in time".
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepseek.client.errors import UnreachableError
from deepseek.contracts import JsonObject
from deepseek.errors import InputError, MissingError
from deepseek.extras import need
from deepseek.observe.elastic.source import ElasticSource

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

KEEP_ALIVE = "2m"  # between two pages
TIME_FIELD = "@timestamp"
#: What is long and explains nothing.
EXCLUDED = ("error.stack_trace", "event.original")


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when lines are asked for, in s since 1970, and the field that they must have; "": any."""

    start_s: float
    end_s: float
    field: str = ""

    @property
    def query(self) -> JsonObject:
        bounds = {"gte": round(self.start_s * 1e3), "lte": round(self.end_s * 1e3), "format": "epoch_millis"}
        within: JsonObject = {"range": {TIME_FIELD: bounds}}
        return {"bool": {"filter": [within, {"exists": {"field": self.field}}]}} if self.field else within


def fetch_lines(source: ElasticSource, span: Span, file: Path, *, may_be_none: bool = False) -> float:
    """Write the lines of a span of time as NDJSON, the oldest first. The share of them that was asked for: 1 unless
    there are more than max_rows. InputError where there is none, unless there `may_be_none`, or more than max_bytes;
    MissingError for an index that is not there; UnreachableError where no Elasticsearch answers."""
    with _errors_in_words(source), _open_client(source) as client, file.open("wb") as out:
        num_rows = num_bytes = 0
        pages = _Pages(client, source, span)
        for hit in pages:
            document = hit.get("_source")
            if not isinstance(document, dict):
                continue
            line = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
            num_rows, num_bytes = num_rows + 1, num_bytes + len(line)
            if num_bytes > source.max_bytes:
                raise InputError(
                    f"{source.shown_url} has more than {source.max_bytes >> 20} MiB of lines in this span",
                    expected="fewer", fix="give a shorter --since or --past",
                )  # fmt: skip
            out.write(line)
    if not num_rows and not may_be_none:
        raise InputError(
            f"{source.shown_url} has no lines of {source.index} in this span", expected="lines with @timestamp",
            fix="look at --since, --until and --elastic-index",
        )  # fmt: skip
    return pages.share


class _Pages:
    """The hits of a search, a page at a time."""

    def __init__(self, client: Elasticsearch, source: ElasticSource, span: Span) -> None:
        self._client, self._source, self._query = client, source, span.query
        self.share = 1.0

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        pit = self._client.open_point_in_time(index=self._source.index, keep_alive=KEEP_ALIVE)["id"]
        try:
            total = self._search(pit, size=0, track_total_hits=True)["hits"]["total"]["value"]
            parts = max(1, math.ceil(total / self._source.max_rows))
            self.share = 1 / parts
            more: dict[str, Any] = {"track_total_hits": False}
            if parts > 1:  # by a hash of the time: every moment has its share
                more["slice"] = {"id": 0, "max": parts, "field": TIME_FIELD}
            after: list[Any] | None = None
            while True:
                if after is not None:
                    more["search_after"] = after
                answer = self._search(pit, size=self._source.page_rows, **more)
                pit, hits = answer.get("pit_id", pit), answer["hits"]["hits"]
                yield from hits
                if len(hits) < self._source.page_rows:
                    return
                after = hits[-1]["sort"]
        finally:
            with suppress(Exception):  # it ends by itself, too
                self._client.close_point_in_time(id=pit)

    def _search(self, pit: str, **more: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self._client.search(
            query=self._query, pit={"id": pit, "keep_alive": KEEP_ALIVE}, source={"excludes": list(EXCLUDED)},
            sort=[{TIME_FIELD: {"order": "asc"}}, {"_shard_doc": "asc"}], allow_partial_search_results=False, **more,
        )  # fmt: skip
        return answer


@contextmanager
def _open_client(source: ElasticSource) -> Iterator[Elasticsearch]:
    elasticsearch = need("elasticsearch", extra="elastic")
    options: dict[str, Any] = {
        "request_timeout": source.timeout_s,
        "max_retries": 2,
        "retry_on_status": (502, 503, 504),
    }
    if source.api_key:
        options["api_key"] = source.api_key
    if source.ca_file:
        options["ca_certs"] = source.ca_file
    client = elasticsearch.Elasticsearch(source.url, **options)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def _errors_in_words(source: ElasticSource) -> Iterator[None]:
    """What the client raises, as errors of this package."""
    elasticsearch = need("elasticsearch", extra="elastic")
    where = source.shown_url
    try:
        yield
    except (elasticsearch.AuthenticationException, elasticsearch.AuthorizationException) as error:
        raise InputError(
            f"{where} refuses: {error.message[:200]}", expected=f"a key that may read {source.index}",
            fix="give --elastic-key-file FILE with an API key",
        ) from error  # fmt: skip
    except elasticsearch.NotFoundError as error:
        raise MissingError(
            f"{where} has no index {source.index}",
            expected="an index with log lines",
            fix="name it: --elastic-index NAME",
        ) from error
    except elasticsearch.UnsupportedProductError as error:
        raise UnreachableError(
            f"what answers at {where} is no Elasticsearch", expected="Elasticsearch 8 or 9", fix="check the address"
        ) from error
    except elasticsearch.ApiError as error:
        raise UnreachableError(
            f"{where} answers {error.status_code}: {error.message[:200]}", expected="lines of the log",
            fix="look at its own log; ask again when it is well",
        ) from error  # fmt: skip
    except (elasticsearch.TransportError, ValueError, KeyError, TypeError) as error:
        raise UnreachableError(
            f"{where} does not answer as Elasticsearch does: {str(error)[:200]}", expected="Elasticsearch that runs",
            fix="start it, check the address, or read files: deepseek observe why LOGS",
        ) from error  # fmt: skip
