"""The dock "Look inside the network"."""
