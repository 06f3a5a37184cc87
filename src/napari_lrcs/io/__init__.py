"""Files: volumes, tables and our own records, read and written safely."""
