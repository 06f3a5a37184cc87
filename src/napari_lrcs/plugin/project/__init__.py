"""What a viewer works on, shared by all docks."""
