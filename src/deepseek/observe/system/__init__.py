"""What happened to machines and containers beside the requests: kernel, journal, syslog, containers, Kubernetes.

    events = read_events([Path("journal.ndjson"), Path("events.json")])
    join_events(logs, events)        # `observe why` can name them as causes now

Every form has a module that makes SystemEvents of it; what is no known trouble is passed over. sources.py reads files
with bounded memory, joining.py puts an event beside the requests of its host that came shortly after.
"""
