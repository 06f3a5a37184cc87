"""Read and write files safely: volumes, tables and our own records."""
