"""What Lightning lacks in callbacks, one idea per file."""
