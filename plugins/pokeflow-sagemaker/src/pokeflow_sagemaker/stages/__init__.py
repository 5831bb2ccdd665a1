"""Stages of this plugin: ``bundle``, ``register`` and ``pipeline``, each a module with a function ``run(task)``."""
