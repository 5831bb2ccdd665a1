"""The stages that this plugin does: ``bundle``, ``register`` and ``pipeline``, each in a module with ``run(task)``."""
