"""Releases: a finished bundle signed on the machine of whoever answers for it."""
