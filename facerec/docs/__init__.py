"""The guides, read by `facerec docs`."""
