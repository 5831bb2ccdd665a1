"""Stages of the plugin, one module each with ``run(task)``; a module is imported when its task runs."""
