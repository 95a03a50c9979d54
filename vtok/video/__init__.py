"""The words that all parts share: frames, tracks of sound, chapters, times, checked values. No FFmpeg, no PyTorch."""
