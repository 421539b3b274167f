"""Keeps Python's garbage collector out of the way of imports. Imported for its effect, before everything heavy.

MLflow and what it needs make some hundred thousand objects that all stay: looking through them again and again takes a
tenth of the time of the imports, and once more, 0.3 s, when the interpreter ends.
"""

import atexit
import gc

gc.set_threshold(20_000)
# What is frozen, the end's last collections leave alone; the system takes the memory back anyway.
atexit.register(gc.freeze)
