"""``python -m napari_lrcs`` is the command line."""

import sys

from napari_lrcs.cli import main

sys.exit(main())
