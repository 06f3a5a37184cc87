"""What helps to paint: to fill a slice, to propagate it, and where to paint next."""
