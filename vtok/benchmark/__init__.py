"""Rate and distortion of vtok and other codecs on the same pixels, as `vtok bench` measures them.

clips         the videos, and the lossless file of each that every codec reads
codecs        one codec, one setting: bytes and seconds
measurement   quality against the source: one record per clip, codec and setting
records       records kept in a file, so that a stopped run can continue
run           everything in order, with progress
bd_rate       curves, means over clips, BD-rates
viewer        frames of vtok and of x264 at the same bitrate, and their errors
tables, page  results as text and CSV, and as a page of HTML; page_parts is what pages have in common
preview       one frame at five qualities, drawn by preview_drawing: what `vtok preview` shows
"""
