"""`python -m scenarios` is the `kubemu` command."""

from scenarios.command.main import main

if __name__ == "__main__":
    main(prog_name="kubemu")
