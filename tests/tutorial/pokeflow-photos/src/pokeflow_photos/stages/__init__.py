"""One module per stage, each with ``run(task)``; imported when a task runs."""
