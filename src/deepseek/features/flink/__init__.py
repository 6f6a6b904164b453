"""The definition as a job on Apache Flink: keyed state on many machines, event time, checkpoints; the store's answers.

    from deepseek.features.flink.job import build_job

    answers = build_job(definition, messages)      # a DataStream of JSON texts -> a DataStream of named rows

    messages -> read -> gate -> histories of keys, spread by key -> join by event -> answers
                          |________________________________________|

`python -m deepseek.features.flink --help` is the same as a program. The gate (gate.py) is one operator with one
instance and sees all messages in their order. It has what belongs to the stream as a whole, so that the rest can be
spread: of each event every key gets a message, the order of a key's messages is the gate's, and so are the answers,
whatever the parallelism. Begin reading at gate.py, then ../key_history.py, then job.py.

Flink is the extra `flink`, which does not fit beside every other one: its releases hold pyarrow and protobuf back.
"""
