"""One image's way through the queue and a worker thread, from its bytes to the answer."""
