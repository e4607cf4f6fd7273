"""What several routers before the same engines share, through a Valkey or a Redis.

| What | Where on the server | Lives |
|---|---|---|
| registrations and orders | a board: one key each, and one index | as long as a replica refreshes them (`board`) |
| loads | a short stream | 3 s from when they were written (`loads`) |
| prefixes | a stream | until newer ones need its bytes (`prefixes`) |

Nobody waits for the server but the tasks of this room. When it is down, slow or full the router goes on alone on what
it knows (`replica`), and what it has to say waits: the newest of each key, the newest load, the newest prefixes within
a budget. Whoever may write to the server may name workers, which then pass the same gate as those that register here.

`replica` is imported only where `cluster.url` is set: its client takes a tenth of a second to import, and takes
OpenTelemetry with it where that is installed.
"""
