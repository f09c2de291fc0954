"""How large a phantom is: voxels along x, y and z, and their size in mm."""

DEFAULT_SHAPE = (96, 96, 64)
DEFAULT_SPACING = (3.5, 3.5, 4.0)
SMALLEST_SHAPE = (24, 24, 8)
