"""What is asked of a Hailo chip: by a script that runs where the chip is, and by those who read its answers here."""
