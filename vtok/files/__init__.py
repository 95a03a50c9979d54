"""What is done with whole files: encode, decode, describe, check, cut, join."""
