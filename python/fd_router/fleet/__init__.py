"""Who may be chosen: registration, health, and what engines say of themselves."""
