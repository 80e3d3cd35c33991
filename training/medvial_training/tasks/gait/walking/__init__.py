"""Adult spinal deformity from walking videos: sources, training, evaluation."""
