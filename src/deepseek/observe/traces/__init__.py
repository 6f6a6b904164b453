"""Requests as traces, sent by OTLP: `deepseek serve --otlp http://collector:4318` (the extra `otlp`).

    sink = TraceSink(OtlpConfig.parse("http://127.0.0.1:4318,sample=0.1"))
    create_app(models, sinks=[sink])

config.py says where and how many, spans.py makes spans of an event, sink.py sends them from a thread of its own.
Nothing here is imported, and no request pays, unless --otlp is given.
"""
