"""What outlives a process: where bytes are kept, and the registrations that are kept there."""
