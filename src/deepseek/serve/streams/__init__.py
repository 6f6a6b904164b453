"""Streams of raw events in, answers out: lines of text, frames of bytes, NATS JetStream, Redis Streams.

    await run_stream(scorer, source, sink)     # stream.py
    source, sink = open_source(url), open_sink(url)          # ends.py

Order of the modules: messages (what an end is), lines, frames, jetstream, redis_streams, ends, stream. A message is
answered by one message, in the order in which they came. The place to go on from after a break is what stands last in
the output: there is no second book that could say something else.
"""
