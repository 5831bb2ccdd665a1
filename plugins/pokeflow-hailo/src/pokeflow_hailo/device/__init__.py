"""Measurements on a Hailo chip: the script that runs on the chip's machine, and the parsers of its results."""
