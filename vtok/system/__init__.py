"""What every part of the program stands on: files written whole, standard streams, paths, threads, memory."""
