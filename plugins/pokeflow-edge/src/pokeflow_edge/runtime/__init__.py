"""Runtime on the device: recognition with an unpacked bundle, from files, a camera or over HTTP.

The bundle contains this package unchanged. It may import the standard library, numpy, pillow, the modules in
``pokeflow_vision.on_device.ON_DEVICE``, and a camera's library if one is used: nothing else is installed there.
"""
