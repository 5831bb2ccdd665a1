"""Parts of the stage ``package``: parameter checks, the packed code, the self-test, the archive."""
