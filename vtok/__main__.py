"""`python -m vtok` is the `vtok` program."""

from vtok.cli import main

main()
