"""Exit 0 when the service in this container is ready; print its answer, which says why where it is not."""

import os
import socket
import sys
from http.client import HTTPConnection  # not urllib: no proxy must get this request

host = os.environ.get("PASSLINE_HOST") or "127.0.0.1"
host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # every address is no address to call
connection = HTTPConnection(host, int(os.environ["PASSLINE_PORT"]), timeout=2)
if path := os.environ.get("PASSLINE_SOCKET"):
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(2)
    connection.sock.connect(path)
connection.request("GET", "/readyz")
response = connection.getresponse()
print(response.read().decode())
sys.exit(response.status != 200)
