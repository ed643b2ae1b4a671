"""The benchmarks: this product and its peers side by side, on the same data, in one run. The documents' figures come from here."""
