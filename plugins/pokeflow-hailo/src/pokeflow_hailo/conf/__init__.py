"""The YAML this plugin brings: ``target=cpu``."""
