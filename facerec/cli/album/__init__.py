"""The commands of `facerec album`, one file per theme."""
