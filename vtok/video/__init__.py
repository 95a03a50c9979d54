"""The types that all parts share: frames, audio tracks, chapters, times, checked values. No FFmpeg, no PyTorch."""
