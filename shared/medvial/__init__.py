"""What a medvial algorithm needs at inference time."""
