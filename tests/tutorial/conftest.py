"""The tutorial's package has tests that run where the tutorial installs it: tests/integration/test_tutorial.py does."""

collect_ignore_glob = ["*"]
