"""What the figures in the documents are made with: this product and its peers side by side, on the same data, in one run."""
