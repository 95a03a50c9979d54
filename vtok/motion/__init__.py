"""How frames move: the search of vectors by the encoder. Decoders do not load it."""
