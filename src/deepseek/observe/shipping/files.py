"""All files that bring lines into Elasticsearch and show them, by their names."""

from __future__ import annotations

import json

from deepseek.contracts import JsonObject
from deepseek.observe.shipping.elasticsearch import index_template, ingest_pipeline, life_cycle_policy
from deepseek.observe.shipping.fields import NAME
from deepseek.observe.shipping.kibana import saved_objects
from deepseek.observe.shipping.shippers import HEAD, filebeat_yaml, rsyslog_config

#: What is put into Elasticsearch, in this order: file and path of its interface.
BODIES = {
    "ilm-policy.json": f"_ilm/policy/{NAME}", "ingest-pipeline.json": f"_ingest/pipeline/{NAME}",
    "index-template.json": f"_index_template/{NAME}",
}  # fmt: skip
OBJECTS, SETUP = "kibana.ndjson", "setup.sh"


def log_files() -> dict[str, str]:
    """Name -> text. ExtraError without the extra `observe`."""
    bodies = {
        "ilm-policy.json": life_cycle_policy(), "ingest-pipeline.json": ingest_pipeline(),
        "index-template.json": index_template(),
    }  # fmt: skip
    return {
        **{name: _to_json(body) for name, body in bodies.items()},
        OBJECTS: saved_objects(), SETUP: setup_script(),
        "filebeat.yml": filebeat_yaml(), "rsyslog.conf": rsyslog_config(),
    }  # fmt: skip


def setup_script() -> str:
    """A script for sh and curl that puts all of it in place; again and again without harm. It ends with the first
    refusal, and says what was refused."""
    puts = "\n".join(f'put "{path}" {name}' for name, path in BODIES.items())
    return f"""#!/bin/sh
{HEAD}# sh setup.sh: puts policy, pipeline, template and Kibana's objects in place.
# ELASTIC_URL, KIBANA_URL: where (a user may stand in them); ELASTIC_API_KEY: a key, where one is needed.
set -eu
cd "$(dirname "$0")"
elastic="${{ELASTIC_URL:-http://127.0.0.1:9200}}"
kibana="${{KIBANA_URL:-http://127.0.0.1:5601}}"

ask() {{
  if [ -n "${{ELASTIC_API_KEY:-}}" ]; then set -- -H "authorization: ApiKey $ELASTIC_API_KEY" "$@"; fi
  curl --silent --show-error --fail-with-body --max-time 30 "$@" ||
    {{ echo "error: it was refused, see above" >&2; exit 3; }}
  echo
}}
put() {{
  echo "PUT $1"
  ask -X PUT -H 'content-type: application/json' --data-binary "@$2" "$elastic/$1"
}}

{puts}
echo "POST api/saved_objects/_import"
ask -X POST -H 'kbn-xsrf: true' --form "file=@{OBJECTS}" "$kibana/api/saved_objects/_import?overwrite=true"
"""


def _to_json(body: JsonObject) -> str:
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"
