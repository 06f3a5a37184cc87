"""Look inside a trained network: its maps, kernels, weights and gradients."""
