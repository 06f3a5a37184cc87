"""Where a prediction goes: into memory, or to files that can be continued."""
