"""The router as a process: the HTTP server, and the composition root that builds everything in it."""
