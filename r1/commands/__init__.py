"""One file a command. The first line of its docstring is its line in `r1 --help`; `main(argv)` runs it."""
