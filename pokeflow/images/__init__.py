"""What the image plugins share: the preprocessing spec, the data set folder, the recognition protocol, the gallery.

Needs ``pokeflow[images]`` (numpy, pillow); the core itself never imports it.
"""
