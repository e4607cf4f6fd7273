"""The side-by-side benchmark: runners, measurement, table, bars. `bench/peers.py` is its command."""
