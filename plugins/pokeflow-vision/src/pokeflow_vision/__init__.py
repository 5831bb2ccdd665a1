"""Shared modules of image plugins: preprocessing, data sets, retrieval, recognition.

Inputs are the data set folder that a ``prepare`` task writes, and a model's folder with the function that opens its
network. Outputs are an index of the gallery, metrics (accuracy, agreement, latency) and matches: the cards that an
image is most like. Every target is measured with this code, and every host answers with it.

Public modules, by the packages that they need besides the standard library:

numpy, opencv,      ``detection`` ``views``
pillow              ``preprocessing`` ``dataset`` ``retrieval`` ``index`` ``onnx_network`` ``recognizer`` ``archive``;
                    these run on a device and in a container too; of pokeflow they import only its errors
pokeflow            ``network`` ``calibration`` ``comparison`` ``on_device`` ``jsonfile`` ``npyfile``
a task of pokeflow  ``benchmark`` ``profiling`` ``recognition``: whole stages of a target
pytest, onnx        ``testing``: the suite that a target's plugin runs

This module imports nothing, so that planning does not load numpy; the core itself never imports this package.
"""
