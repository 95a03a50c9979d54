"""Rate and distortion of vtok and other codecs on the same pixels: what `vtok bench` runs.

clips         which videos, and the lossless file of each that every codec reads
codecs        one codec, one setting: bytes and seconds
measurement   how far from the source: one record per clip, codec and setting
records       records kept in a file, so that a stopped run goes on
run           all of it, in order, with progress
bd_rate       curves, means over clips, BD-rates
viewer        frames of vtok and of x264 at the same bitrate, and their errors
tables, page  results as text and CSV, and as a page of HTML
"""
