"""`python -m artfs`."""

from artfs.cli import main

main()
