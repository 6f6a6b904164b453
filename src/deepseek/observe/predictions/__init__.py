"""The prediction log: every row that was answered, its inputs and its answer, in Parquet.

    log = PredictionLog(PredictionLogConfig.parse("predictions,inputs=hashed"))
    create_app(models, row_sink=log)

config.py says what is kept, rows.py makes columns of rows, segments.py keeps the files within their bounds, log.py is
the sink. `deepseek observe why` and `deepseek observe drift` read what is written here.
"""
