"""Stages of the plugin: one module each, with a function ``run(task)``; imported only when a task runs."""

import os

# By default the threads of OpenMP spin while they wait, and on a busy machine they take the processor from the thread
# that they wait for. OpenMP reads this when PyTorch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
