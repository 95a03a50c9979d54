"""Converts frames to codes to groups of a file, and back; opens one file as frames or as tokens."""
