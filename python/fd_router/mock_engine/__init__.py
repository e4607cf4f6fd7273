"""A stand-in for a FastDeploy engine, for demos and tests: it serves no model.

`python -m fd_router.mock_engine --router HOST:PORT` registers with a router as an engine does, answers
OpenAI-style requests with made-up words that name the engine, models a prefix cache, a batch and a queue,
plays either leg of a prefill/decode pair, and breaks in every way that it is told to.

It imports nothing of the router, so that the two can only agree over the wire.
"""
