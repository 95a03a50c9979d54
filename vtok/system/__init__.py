"""The basis of every part of the program: atomic files, standard streams, paths, threads, memory."""
