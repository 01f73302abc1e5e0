"""The command line: `python -m rmr1_lite COMMAND --help`."""
