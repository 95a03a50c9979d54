"""The command line: it parses and prints, and everything that it does can be called from Python."""
