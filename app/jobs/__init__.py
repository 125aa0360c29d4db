"""The path of one image through the queue and a worker thread, from its bytes to the answer."""
