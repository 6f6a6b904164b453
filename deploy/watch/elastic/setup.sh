#!/bin/sh
# Made by `deepseek observe export`.
# sh setup.sh: puts policy, pipeline, template and Kibana's objects in place.
# ELASTIC_URL, KIBANA_URL: where (a user may stand in them); ELASTIC_API_KEY: a key, where one is needed.
set -eu
cd "$(dirname "$0")"
elastic="${ELASTIC_URL:-http://127.0.0.1:9200}"
kibana="${KIBANA_URL:-http://127.0.0.1:5601}"

ask() {
  if [ -n "${ELASTIC_API_KEY:-}" ]; then set -- -H "authorization: ApiKey $ELASTIC_API_KEY" "$@"; fi
  curl --silent --show-error --fail-with-body --max-time 30 "$@" ||
    { echo "error: it was refused, see above" >&2; exit 3; }
  echo
}
put() {
  echo "PUT $1"
  ask -X PUT -H 'content-type: application/json' --data-binary "@$2" "$elastic/$1"
}

put "_ilm/policy/deepseek-logs" ilm-policy.json
put "_ingest/pipeline/deepseek-logs" ingest-pipeline.json
put "_index_template/deepseek-logs" index-template.json
echo "POST api/saved_objects/_import"
ask -X POST -H 'kbn-xsrf: true' --form "file=@kibana.ndjson" "$kibana/api/saved_objects/_import?overwrite=true"
