"""What outlives a process: where bytes are kept, and what is: registrations, and snapshots of what was learned."""
