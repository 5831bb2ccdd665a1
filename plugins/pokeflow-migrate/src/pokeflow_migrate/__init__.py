"""Bringing existing assets into the project's tree: sources are read, never touched; every byte is accounted for."""
