"""The forms of the documents: a dataclass each, of which its JSON Schema is generated."""
