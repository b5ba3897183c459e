"""Examples: each folder stands for itself."""
