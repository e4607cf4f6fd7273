"""What the Go router does, held against ours from outside: one test for each numbered case of its behaviour.

`test_case_NNN_...` is a required case or, where the Go router is wrong, the behaviour that is right; `test_note_...`
are deliberate differences that have no number; `test_message_...` hold the exact words of refusals.

Most cases share a router (see `conftest.py`): each finds it without workers and with an empty log, and leaves it so.
"""
