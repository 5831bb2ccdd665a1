"""Commands that the image plugins share."""
