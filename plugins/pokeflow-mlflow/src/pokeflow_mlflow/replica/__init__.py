"""MLflow on ``s3://``: a SQLite working copy that MLflow's own SQL store works on, and the bucket as the truth.

schema         which rows of MLflow's tables belong together: a *unit*, such as a run with its tags and parameters
document       a unit as text, and how two that were changed apart are merged
layout         where each unit lies in the bucket
working_copy   the SQLite file; `triggers` note every unit that a transaction changed, in that very transaction
forks          no database is open at a fork
publish        units that changed here go to the bucket, by compare-and-swap; `histories` of metrics beside them
refresh        units that changed there come here
flusher        when: at an interval, when a run ends, at exit, on SIGTERM
synchronizer   what a store asks the bucket before it answers
stores         the two stores that MLflow finds by the scheme ``s3``
entry          what its entry points name
"""
