"""Frames to codes to groups of a file, and back; one file opened as frames or as tokens."""
