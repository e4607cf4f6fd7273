"""`python -m fd_router` is `fd-router`."""

from fd_router.cli import main

main()
