"""The commands: a module each, with what they take and what they do."""
