"""Commands that create releases for small devices."""
