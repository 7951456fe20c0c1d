"""``python -m samgeo.cli``."""

from samgeo.cli import main

main()
