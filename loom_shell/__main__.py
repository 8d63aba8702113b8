"""`loom` and `python -m loom_shell`."""

from loom_shell.entry import main

if __name__ == "__main__":
    main()
