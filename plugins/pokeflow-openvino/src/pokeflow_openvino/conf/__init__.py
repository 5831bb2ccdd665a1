"""The YAML this plugin brings: ``target=openvino``."""
