"""What runs on the device: recognition from an unpacked bundle, from files, a camera or over HTTP.

This package is in the bundle as it is here. It may import the standard library, numpy, pillow, what
``pokeflow_vision.on_device.ON_DEVICE`` names, and a camera's library where one is asked for: nothing else is there.
"""
