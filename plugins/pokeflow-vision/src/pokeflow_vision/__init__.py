"""What the image plugins share: from pictures of cards to the card that a picture shows.

In comes the data set folder that a ``prepare`` task leaves, and a model's folder with the function that opens its
network. Out come an index of the gallery, figures (accuracy, agreement, latency) and matches: which cards an image is
most like. Every target is measured, and every host answers, with this code.

Public modules, by what they need beside the standard library:

numpy, pillow       ``preprocessing`` ``dataset`` ``retrieval`` ``index`` ``onnx_network`` ``recognizer`` ``archive``;
                    these run on a device and in a container too, and import nothing else of pokeflow but its errors
pokeflow            ``network`` ``calibration`` ``comparison`` ``on_device`` ``jsonfile`` ``npyfile``
a task of pokeflow  ``benchmark`` ``profiling`` ``recognition``: whole stages of a target
pytest, onnx        ``testing``: the suite that a target's plugin runs

Nothing is imported here, so that planning loads no numpy; the core itself never imports this package.
"""
