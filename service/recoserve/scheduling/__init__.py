"""What answers, and when: the model registry, its loader, the queue and its batches."""
