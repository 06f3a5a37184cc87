"""Compare trainings that start from another network with those from scratch."""
