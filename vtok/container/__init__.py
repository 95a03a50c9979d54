"""Read and write the bytes of a `.vtok` file (`docs/format.md`). No FFmpeg, no PyTorch."""
