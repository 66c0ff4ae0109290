"""Albums: every face of a photo library in one SQLite file, with the people that a user names."""
