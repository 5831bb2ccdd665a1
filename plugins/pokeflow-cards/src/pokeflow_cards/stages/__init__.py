"""The stages that the plugin does, a module each with ``run(task)``; imported when a task runs."""
