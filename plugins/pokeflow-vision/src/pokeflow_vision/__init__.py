"""What the image plugins share, and what every target of theirs does alike.

The preprocessing spec, the data set folder, the recognition protocol, the gallery; calibration, comparison with the
parent, benchmark, recognition. Needs ``pokeflow-vision`` (numpy, pillow); the core itself never imports it.
"""
