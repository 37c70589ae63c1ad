"""`python -m enodo`: the command line, where the installed command is not on the path."""

from enodo.cli import main

if __name__ == "__main__":
    main()
