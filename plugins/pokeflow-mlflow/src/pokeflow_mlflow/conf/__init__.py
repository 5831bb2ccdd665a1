"""Configuration files of this plugin, such as ``tracking=mlflow`` and ``registry=mlflow``."""
