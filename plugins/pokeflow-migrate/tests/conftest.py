"""What the tests of a migration have in common."""
