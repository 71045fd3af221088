"""The command line, its run folders and configurations: a thin view of the library."""
