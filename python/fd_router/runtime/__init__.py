"""What any asyncio process needs: background rounds, notice of what is overdue, what may be caught, memory settings."""
