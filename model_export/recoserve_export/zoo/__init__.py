"""`recoserve train`: reference architectures, trained on a ratings file and exported as a verified bundle."""
