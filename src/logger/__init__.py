"""What Lightning lacks in loggers, one idea per file."""
