"""Forms of the documents: dataclasses from which the JSON Schemas are generated."""
