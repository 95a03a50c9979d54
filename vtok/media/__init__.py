"""Everything that uses FFmpeg, through PyAV: reading and writing videos, frames and packets."""
