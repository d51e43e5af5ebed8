"""Arrays to pictures and back: PNG files, grids, GIFs, and the step between bytes and floats.

Images are channels-last: (H, W), (H, W, 1) or (H, W, 3).  Pillow takes 20 ms to import, a tenth of
what `import tinydiff` may take: the functions that write import it themselves.
"""

from tinydiff.images.files import save_gif, save_png
from tinydiff.images.grids import grid, side_by_side
from tinydiff.images.labelled import captioned_grid, labelled_grid, labelled_rows
from tinydiff.images.ranges import (
    check_pictures,
    check_value_range,
    to_float,
    to_input,
    to_uint8,
)

__all__ = [
    "captioned_grid",
    "check_pictures",
    "check_value_range",
    "grid",
    "labelled_grid",
    "labelled_rows",
    "save_gif",
    "save_png",
    "side_by_side",
    "to_float",
    "to_input",
    "to_uint8",
]
