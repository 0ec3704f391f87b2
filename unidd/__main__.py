"""`python -m unidd` is the command `unidd`; so `torchrun -m unidd` starts it in several processes."""

from .cli import main

main()
