"""The commands that image plugins share."""
