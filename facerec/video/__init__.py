"""Face recognition in video: sources of frames, tracking, recognition, the live page."""
