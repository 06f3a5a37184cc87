"""``python -m napari_lrcs`` is the command line."""

import sys

from napari_lrcs.commands.cli import main

sys.exit(main())
