"""The reference architectures, one file each, in Keras and in PyTorch."""
