"""Commands of this plugin: ``provision``, ``pipeline``, ``serve``, ``deploy`` and ``transform``."""
