"""Parts of stage ``compile``: float32 ONNX → HEF, with the Dataflow Compiler in a separate process."""
