"""Bridges to other libraries, each an extra; nothing else in the package imports them."""
