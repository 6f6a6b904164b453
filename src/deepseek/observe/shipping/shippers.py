"""Configurations of what ships lines: Filebeat, and rsyslog for machines that have it already.

Sources: Filebeat's reference 8.x and 9.x: filestream, its parsers, journald; rsyslog 8: imfile, mmjsonparse,
omelasticsearch.
"""

from __future__ import annotations

from deepseek.contracts import JsonObject
from deepseek.extras import need
from deepseek.observe.shipping.fields import NAME, data_stream

SERVER_FILES = "/var/log/deepseek/*.ndjson"
HEAD = "# Made by `deepseek observe export`.\n"
#: Of a JSON line: its fields stand at the top, and names with dots become objects.
_NDJSON = {"target": "", "overwrite_keys": True, "expand_keys": True, "add_error_key": True}
_MANAGERS = ["systemd", "chronyd", "systemd-timesyncd", "dockerd", "containerd", "kubelet"]


def filebeat_config() -> JsonObject:
    """filebeat.yml. Lines wait on the disk while Elasticsearch is away, 1 GB at most."""
    inputs = [
        {
            "type": "filestream", "id": "deepseek-server", "paths": [SERVER_FILES], "parsers": [{"ndjson": _NDJSON}],
            "index": data_stream("deepseek.server"),
        },
        {
            "type": "filestream", "id": "deepseek-container", "paths": ["/var/lib/docker/containers/*/*.log"],
            "prospector.scanner.symlinks": True, "index": data_stream("deepseek.container"),
            "parsers": [
                {"container": {"stream": "all", "format": "auto"}},
                {"ndjson": {**_NDJSON, "add_error_key": False, "ignore_decoding_error": True}},
            ],
        },
        {
            "type": "journald", "id": "deepseek-kernel", "include_matches": {"match": ["_TRANSPORT=kernel"]},
            "index": data_stream("deepseek.journal"),
        },
        {
            "type": "journald", "id": "deepseek-managers", "syslog_identifiers": _MANAGERS,
            "index": data_stream("deepseek.journal"),
        },
        {
            "type": "filestream", "id": "deepseek-syslog", "enabled": False,
            "paths": ["/var/log/syslog", "/var/log/messages"], "index": data_stream("deepseek.syslog"),
            "parsers": [{"syslog": {"format": "auto", "timezone": "Local"}}],
        },
    ]  # fmt: skip
    return {
        "filebeat.inputs": inputs, "processors": [{"add_host_metadata": {"netinfo.enabled": False}}],
        "queue.disk.max_size": "1GB", "setup.template.enabled": False, "setup.ilm.enabled": False,
        "output.elasticsearch": {"hosts": ["${ELASTIC_URL:http://elasticsearch:9200}"], "allow_older_versions": True},
        "logging.level": "warning", "logging.to_stderr": True,
    }  # fmt: skip


def filebeat_yaml() -> str:
    """The text of filebeat.yml. ExtraError without the extra `observe`."""
    yaml = need("yaml", extra="observe")
    text: str = yaml.safe_dump(filebeat_config(), sort_keys=False, allow_unicode=True, width=1_000)
    return HEAD + text


def rsyslog_config(
    files: str = SERVER_FILES, server: str = "127.0.0.1", port: int = 9_200, work_folder: str = "/var/spool/rsyslog"
) -> str:
    """A file for /etc/rsyslog.d. A line that is no JSON object is shipped as a message. Lines wait in memory and then
    on the disk while Elasticsearch is away, 1 GB at most; one that is shipped twice is stored once, by its place."""
    index = data_stream("deepseek.server")
    action = (
        f'action(type="omelasticsearch" server="{server}" serverport="{port}" searchIndex="{index}" '
        f'searchType="" writeoperation="create" dynbulkid="on" bulkid="{NAME}-id" bulkmode="on" maxbytes="8m" '
        'retryfailures="off" '
        'template="{template}" queue.type="LinkedList" queue.filename="{template}" queue.maxDiskSpace="1g" '
        'queue.saveOnShutdown="on" queue.size="10000" queue.timeoutEnqueue="0" action.resumeRetryCount="-1" '
        'action.resumeInterval="5")'
    )
    whole, broken = action.replace("{template}", f"{NAME}-json"), action.replace("{template}", f"{NAME}-text")
    host = '\\"host.name\\":\\"%hostname:::json%\\"'
    time = '\\"@timestamp\\":\\"%timegenerated:::date-rfc3339%\\"'
    place = "%hostname:::json%-%$!metadata!filename:::json%-%$!metadata!fileoffset%"
    return f"""{HEAD}global(workDirectory="{work_folder}" maxMessageSize="256k")
module(load="imfile")
module(load="mmjsonparse")
module(load="omelasticsearch")

# The place of a line and when it was read are its id. The host's name is put at the beginning of the line's object.
template(name="{NAME}-id" type="string" string="{place}-%timegenerated:::date-unixtimestamp%")
template(name="{NAME}-json" type="string" string="{{{host},%msg:2:$%")
template(name="{NAME}-text" type="string" string="{{{time},{host},\\"message\\":\\"%msg:::json%\\"}}")

ruleset(name="{NAME}") {{
  action(type="mmjsonparse" cookie="" container="$!line")
  if $parsesuccess == "OK" and $msg startswith "{{\\"" then {{
    {whole}
  }} else {{
    {broken}
  }}
}}
input(type="imfile" File="{files}" Tag="deepseek" ruleset="{NAME}" reopenOnTruncate="on" addMetadata="on")
"""
