"""What this plugin does with finished tasks: one module a stage, each with ``run(task)``."""
