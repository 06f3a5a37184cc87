"""``python -m napari_lrcs`` is the command line."""

import sys

from napari_lrcs.commands.main import main

sys.exit(main())
