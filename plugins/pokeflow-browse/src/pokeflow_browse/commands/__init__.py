"""A module a command: its arguments, and what it does."""

SUMMARIES = {
    "ls": "the project's tree: what is there, what each file is from, and what is missing",
    "find": "models, figures and files of the project by part of a name, a pattern or a digest",
    "lineage": "which version was made from which, and how, drawn",
    "verify": "read the project's tree again and compare it with its checksums and schemas",
    "pull": "bring a published model or data set to this machine, every checksum compared",
}
"""The commands with a line of help each."""
