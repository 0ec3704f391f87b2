"""The engine of methods that descend on images: steps, their state on disk, several processes, the real side."""
