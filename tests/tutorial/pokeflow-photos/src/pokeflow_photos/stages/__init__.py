"""One module a stage, each with ``run(task)``; imported when a task runs."""
