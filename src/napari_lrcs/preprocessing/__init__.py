"""What happens to grey levels before anything learns: masks, filters, normalisation."""
