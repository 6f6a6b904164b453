"""The definition as a job on Apache Flink: keyed state on many machines, event time, checkpoints; the store's answers.

    from deepseek.features.flink.job import build_job

    answers = build_job(definition, messages)      # a DataStream of JSON texts -> a DataStream of named rows

    messages -> read -> gate -> histories of keys, spread by key -> join by event -> answers
                          |_______________|_______________________|
                          |               | what cards say        |
                          |__ histories of terminals _____________|      where hidden states are followed

`python -m deepseek.features.flink --help` is the same as a program. The gate (gate.py) is one operator with one
instance and sees all messages in their order. It has what belongs to the stream as a whole, so that the rest can be
spread: of each event every key gets a message, the order of a key's messages is the gate's, and so are the answers,
whatever the parallelism. With hidden states a terminal needs what the event's card says; it takes events and verdicts
in the gate's order, and an event waits for its card's message (parts.py). Begin reading at gate.py, then parts.py, then
key_answers.py and ../key_history.py, then job.py.

Flink is the extra `flink`, which does not fit beside every other one: its releases hold pyarrow and protobuf back.
"""
