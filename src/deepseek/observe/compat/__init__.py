"""Names that dashboards of other servers ask for, told beside our own: `serve --metrics-compat vllm,triton,kserve`.

    compat = CompatMetrics(read_projects("vllm,kserve"), metrics, lambda: read_status(app))
    metrics.watch(compat)                 # and among the sinks of the server

names.py is the table of what is told and of what is not, triton.py, kserve.py and vllm.py make families of what is
counted anyway, collector.py hands them over.
"""
