"""Stage ``compile``: float32 ONNX → HEF, through the Dataflow Compiler in a process of its own."""
