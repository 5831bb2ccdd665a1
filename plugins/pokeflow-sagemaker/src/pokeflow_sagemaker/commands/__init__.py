"""The commands that this plugin brings: ``provision``, ``pipeline``, ``serve``, ``deploy`` and ``transform``."""
