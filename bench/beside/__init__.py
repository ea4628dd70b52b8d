"""The same patching grid on the same weights by rheostat and by other libraries, each in a process of its own.

The libraries conflict with each other, so each lives in an environment of its own under build/beside. Processes are
not timed against each other: in each of them the same plain loop takes turns with the ways of the library, and what is
reported is the ratio to it.
"""
