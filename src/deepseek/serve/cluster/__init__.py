"""The same server on a cluster: Ray Serve places, scales, watches and restarts; we answer (docs/decisions/0008).

`plan` says what runs where and writes it down as a configuration of Ray Serve, without Ray. `asgi` is an App behind
ASGI, which is what Ray Serve's proxies speak to a replica. `replica` is one front end with its engine processes and
what Ray Serve asks of it. `run` starts it, prints the ready line and stops it.
"""
