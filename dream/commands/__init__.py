"""The commands of the command line, with their options; `dream.__main__` runs them."""
