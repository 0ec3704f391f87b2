"""Synthetic sets in the formats of others: what goes out, and what comes in."""

from .exchange_folder import from_imagefolder, to_imagefolder

__all__ = ["from_imagefolder", "to_imagefolder"]
