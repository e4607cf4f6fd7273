"""What any asyncio process needs: background rounds, notice of what is overdue, memory settings."""
