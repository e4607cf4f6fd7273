"""What operators see: the log, the metrics, the periodic `[stats]` line."""
