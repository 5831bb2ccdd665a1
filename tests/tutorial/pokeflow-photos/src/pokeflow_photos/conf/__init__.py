"""The plugin's own YAML: ``data=photos``."""
