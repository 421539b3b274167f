"""What uploads (incoming.py) and downloads (outgoing.py) share: the threads, and how far one side may be ahead."""

from concurrent.futures import ThreadPoolExecutor

from replica_server import limits

# How many blocks may wait for the slower side.
AHEAD = 4
# Not the event loop's own pool, which is small.
THREADS = ThreadPoolExecutor(limits.transfer_threads(), "transfer")
