"""Files that bring log lines into Elasticsearch and show them in Kibana, made from one table of fields.

    log_files()        # name -> text: index template, life cycle, pipeline, Filebeat, rsyslog, Kibana's objects, set-up

fields.py is the table; elasticsearch.py, filebeat.py, rsyslog.py and kibana.py each make files of it.
`deepseek observe export` writes them, and the Compose profile `watch` mounts them.
"""
