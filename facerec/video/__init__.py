"""Faces in moving pictures: where frames come from, tracks through them, and who each track is."""
