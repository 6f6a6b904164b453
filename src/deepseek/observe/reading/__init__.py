"""Logs of predictions and of requests, read by DuckDB into one table of rows.

    logs = open_logs([Path("predictions"), Path("access.ndjson")], ReadLimits())
    logs.query("SELECT count(*) FROM rows")[0]

files.py finds and sorts the files, ndjson.py says what columns lines have, tables.py makes the one table, clocks.py
sets right the hosts whose clocks are apart, labels.py joins what became known later.
"""
