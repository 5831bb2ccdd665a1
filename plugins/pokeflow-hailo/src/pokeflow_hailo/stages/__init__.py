"""The stages of the plugin, one module per stage with ``run(task)``; imported when a task runs."""
