"""Models that score pairs, ranked over all items: by a bundle of this product, and by running them on tiled inputs."""
