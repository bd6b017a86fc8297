"""`python -m afk_es.cli`: the command line where its script is not installed."""

from afk_es.cli import main

if __name__ == "__main__":
    main(prog_name="afk-es")
