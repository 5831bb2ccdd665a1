"""Migration: what another MLflow store holds, brought into the one that the configuration names.

entities    what a store holds, whichever store: experiments, runs, logged models, registered models
files       the artifacts of one run or model, wherever they lie
folder      reads an ``mlruns`` folder, of this machine or in a bucket
store       reads any store that MLflow opens
sources     from an address to one of the two
copying     creates what is missing in the target, and completes what a kill left half copied
registry    the same for registered models
compare     two entities side by side: what is lost, what has changed since
migration   all of it: what ``pokeflow_migrate.experiments`` names
report      what was done, and what was not
"""
