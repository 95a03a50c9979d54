"""The bytes of a `.vtok` file, read and written (`docs/format.md`). No FFmpeg, no PyTorch."""
