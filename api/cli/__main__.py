"""`python -m api.cli` is `refdesk`."""

from api.cli import main

main()
