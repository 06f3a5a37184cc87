"""Layers: what each is, how those of the plugin are made, chosen and shown."""
