"""What the image plugins share: the preprocessing spec, the data set folder, the recognition protocol, the gallery;
and what every target does alike: calibration, comparison with its parent, benchmark, recognition.

Needs ``pokeflow[images]`` (numpy, pillow); the core itself never imports it.
"""
