"""Log lines of a span of time from Elasticsearch, by the official client (the extra `elastic`), into a file that
reading/ takes like any other: `deepseek observe why --elastic URL`.

    source = ElasticSource("https://logs.bank.example:9200", api_key=key)
    share = fetch_lines(source, Span(start_s, end_s), Path("lines.ndjson"))
"""
