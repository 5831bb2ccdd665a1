"""The commands beside running: one module each, with a ``main(args) -> exit code``."""
