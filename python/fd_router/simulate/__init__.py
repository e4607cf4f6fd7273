"""The command `fd-router simulate`: traces through the real scheduler and engines in virtual time."""
