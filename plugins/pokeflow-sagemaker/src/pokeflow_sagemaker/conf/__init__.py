"""YAML configuration files of this plugin."""
