"""The napari plugin: the only code that imports Qt, napari or magicgui."""
