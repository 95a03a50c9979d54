"""`python -m vtok` is the `vtok` program."""

from vtok.cli.app import main

main()
