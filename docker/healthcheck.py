"""Exit 0 when the service in this container is ready; print its answer, which says why where it is not."""

import os
import sys
from http.client import HTTPConnection  # not urllib: a proxy in the environment must not get this request

connection = HTTPConnection("127.0.0.1", int(os.environ["PASSLINE_PORT"]), timeout=2)
connection.request("GET", "/readyz")
response = connection.getresponse()
print(response.read().decode())
sys.exit(response.status != 200)
