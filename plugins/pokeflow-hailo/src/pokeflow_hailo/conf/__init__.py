"""YAML files of this plugin: ``target=hailo8l`` and ``target=hailo8``."""
