"""A camera's RAW file, made here."""

import tifffile


def write_dng(path, mosaic):
    """A DNG file with one grey picture under an RGGB mosaic: 16 bits, linear."""
    identity = [(1, 1), (0, 1), (0, 1), (0, 1), (1, 1), (0, 1), (0, 1), (0, 1), (1, 1)]
    rationals = [number for pair in identity for number in pair]
    tags = [
        (0x010F, 2, 6, b"Maker\0", True),
        (0x0110, 2, 6, b"Model\0", True),
        (0x0132, 2, 20, b"2026:11:24 10:00:00\0", True),
        (33421, 3, 2, (2, 2), True),
        (33422, 1, 4, (0, 1, 1, 2), True),
        (50706, 1, 4, (1, 4, 0, 0), True),
        (50707, 1, 4, (1, 1, 0, 0), True),
        (50708, 2, 12, b"Maker Model\0", True),
        (50714, 3, 1, 0, True),
        (50717, 4, 1, 65535, True),
        (50721, 10, 9, rationals, True),
        (50728, 5, 3, (1, 1, 1, 1, 1, 1), True),
        (50778, 3, 1, 21, True),
    ]
    tifffile.imwrite(path, mosaic, photometric=32803, extratags=tags, metadata=None)
