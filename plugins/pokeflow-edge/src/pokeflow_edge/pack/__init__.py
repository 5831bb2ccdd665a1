"""What stage ``package`` is made of: checks, the code that goes along, a self-test, the archive."""
