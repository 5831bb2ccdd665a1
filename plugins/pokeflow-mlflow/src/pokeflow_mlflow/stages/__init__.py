"""Stages of this plugin, which process finished tasks: one module per stage, each with ``run(task)``."""
