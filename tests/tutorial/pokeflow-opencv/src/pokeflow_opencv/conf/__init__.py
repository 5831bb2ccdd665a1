"""The plugin's own YAML: ``target=opencv``."""
