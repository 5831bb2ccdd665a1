"""The YAML this plugin brings: ``target=hailo8l`` and ``target=hailo8``."""
