"""The engines' side: the relay for requests, HTTP clients for everything else."""
