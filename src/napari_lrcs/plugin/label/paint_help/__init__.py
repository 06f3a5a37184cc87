"""Help to paint: the part of the dock that fills, suggests, imports and exports."""
