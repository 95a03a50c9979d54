"""The command line: it parses and prints; everything else can be called from Python."""
