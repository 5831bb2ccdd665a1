"""Stages of the plugin: one module each, with a function ``run(task)``; imported only when a task runs."""
