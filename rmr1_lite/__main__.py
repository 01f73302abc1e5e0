"""`python -m rmr1_lite COMMAND`: see `rmr1_lite.cli.main`."""

from rmr1_lite.cli.main import main

if __name__ == "__main__":
    main()
