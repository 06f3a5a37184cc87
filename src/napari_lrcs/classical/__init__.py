"""What needs no network: thresholds, k-means, forests, specks, a built-in phantom."""
