"""Share fixtures of the tests of migrations."""
