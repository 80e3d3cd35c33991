"""One HTTP request on loopback, printed as JSON. Runs inside any image that has Python 3.

    python3 -c "$(cat probe.py)" METHOD PATH TIMEOUT_S

The answer is {"status": ..., "location": ..., "body": ...}, or {"error": ...}. No redirect is
followed, and no body or content type is sent.
"""

import http.client
import json
import sys


def main():  # type: ignore[no-untyped-def]  # noqa: ANN201, D103  # the image's Python may be old
    method, path, timeout = sys.argv[1], sys.argv[2], float(sys.argv[3])
    connection = http.client.HTTPConnection("127.0.0.1", 4743, timeout=timeout)
    try:
        connection.request(method, path)
        reply = connection.getresponse()
        body = reply.read(2000).decode("utf-8", "replace")
        answer = {"status": reply.status, "location": reply.getheader("Location"), "body": body}
    except Exception as error:
        answer = {"error": "%s: %s" % (type(error).__name__, error)}  # noqa: UP031
    print(json.dumps(answer))


main()  # type: ignore[no-untyped-call]
