"""``python -m hub.cli``."""

from hub.cli.root import main

main(prog_name="hub")
