"""The published project: records come in; one tree of files, receipts and metadata goes out, and is read again."""
