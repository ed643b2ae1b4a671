"""The reference architectures in Keras and in PyTorch, one file each."""
