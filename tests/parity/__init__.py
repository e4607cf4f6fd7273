"""What the Go router does, held against ours from outside: one test for each numbered case of its behaviour.

`test_case_NNN_...` is a case as it is required or, where the Go router is wrong, as it is right; `test_note_NN_...`
hold what running the Go router showed beside the cases, mostly deliberate differences; `test_message_...` the exact
words of refusals.

Most cases share a router (see `conftest.py`): each finds it without workers and with an empty log, and leaves it so.
"""
