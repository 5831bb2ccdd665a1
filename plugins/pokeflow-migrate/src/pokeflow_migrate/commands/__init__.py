"""Commands of this plugin, one module each, with its arguments and its function."""
