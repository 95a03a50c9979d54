"""Encodes many files, or parts of long ones, on many workers."""
