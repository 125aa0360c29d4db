"""Exit 0 when the service in this container is ready; print its answer, which says why where it is not."""

import os
import ssl
import sys
from http.client import HTTPConnection, HTTPSConnection  # not urllib: no proxy must get this request

host = os.environ.get("PASSLINE_HOST") or "127.0.0.1"
host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # every address is no address to call
port = int(os.environ["PASSLINE_PORT"])
if os.environ.get("PASSLINE_TLS_CERT"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # It asks itself, by an address that its certificate need not name.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection: HTTPConnection = HTTPSConnection(host, port, timeout=2, context=context)
else:
    connection = HTTPConnection(host, port, timeout=2)
connection.request("GET", "/readyz")
response = connection.getresponse()
print(response.read().decode())
sys.exit(response.status != 200)
