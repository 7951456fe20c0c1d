"""Run the command line with ``python -m samgeo.cli``."""

from samgeo.cli import main

main()
