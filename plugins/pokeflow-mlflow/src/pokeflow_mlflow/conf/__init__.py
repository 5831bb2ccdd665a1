"""The YAML this plugin brings: ``tracking=mlflow``."""
