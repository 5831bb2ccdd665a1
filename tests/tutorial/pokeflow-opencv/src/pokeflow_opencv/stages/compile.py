"""Stage ``compile``: OpenCV reads ONNX, so a network that it can run is kept as it is."""

from shutil import copyfile

from pokeflow import Result, Task
from pokeflow_opencv.network import FILE, open_network
from pokeflow_vision import index
from pokeflow_vision.network import ONNX, gallery, model_and_data, size_mb


def run(task: Task) -> Result:
    model, data = model_and_data(task)
    index.write(task.output, gallery(open_network(model.folder, data.preprocessing, 0), data))
    copyfile(model.folder / ONNX, task.output / FILE)
    data.preprocessing.write(task.output)
    return Result({"size_mb": size_mb(task.output, FILE)}, {"preprocessing": data.preprocessing.hash})
