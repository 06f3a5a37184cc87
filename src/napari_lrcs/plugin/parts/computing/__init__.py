"""Where the work of a dock is computed: on which device, by which processes."""
