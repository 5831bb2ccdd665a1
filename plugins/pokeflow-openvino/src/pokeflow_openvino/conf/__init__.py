"""Package with the plugin's YAML: ``target=openvino``."""
