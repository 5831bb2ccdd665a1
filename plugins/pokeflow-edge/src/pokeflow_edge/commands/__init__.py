"""The commands that make what a small device gets."""
