"""A run of `deepseek train` -> a bundle: its module exported, checked, and answered for like every other bundle.

    from deepseek.automl.run_bundle.export import RunBundleOptions, export_run
    export_run("runs/first", RunBundleOptions(shape=(30,), labels=("no", "yes"), out="churn"))

Reading order: options -> trained (the run's folder opened) -> rows (of its data) -> answers (the module as a bundle
answers) -> tables, pictures -> export.
"""
