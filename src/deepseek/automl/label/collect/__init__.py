"""What a served model is unsure of, as items of a project: opt-in, sampled and masked. sink.py takes what was answered.

sink = UnsureSink(CollectConfig.parse("claims,share=0.1,margin=0.2,hide=name+phone"))
create_app(models, row_sink=sink)
"""
