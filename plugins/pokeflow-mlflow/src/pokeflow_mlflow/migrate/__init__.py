"""Migration of another MLflow store into the one that the configuration names.

entities    contents of any store: experiments, runs, logged models, registered models
files       artifacts of one run or model, in a folder, in a bucket or on a server
folder      reads an ``mlruns`` folder, on this machine or in a bucket
store       reads any store that MLflow opens
sources     opens a URI with one of these two
copying     creates what is missing in the target, and completes what a kill left copied only in part
registry    does so for registered models
compare     compares two entities: losses, and changes made since
migration   the whole migration: the entry point in the group ``pokeflow_migrate.experiments``
report      report of what was copied, and what was not
"""
