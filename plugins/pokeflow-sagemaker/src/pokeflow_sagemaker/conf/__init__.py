"""The YAML that this plugin brings."""
