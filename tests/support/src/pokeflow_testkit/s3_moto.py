"""A double of S3 over HTTP: ``python -m pokeflow_testkit.s3_moto [--port 0]``.

It prints its address, answers until its standard input ends, and is controlled by JSON under ``/_control``:
GET the counters, POST faults, DELETE everything.
"""

import argparse
import os
import sys
import threading

from pokeflow_testkit.s3_double import Double


def serve(port: int, double: Double) -> None:
    """Answer on the loopback until standard input ends."""
    from moto.moto_server.werkzeug_app import MotoRequestHandler
    from werkzeug.serving import make_server

    class Handler(MotoRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def run_wsgi(self) -> None:
            """Answer and keep the connection open, unlike werkzeug's own handler."""
            environ = self.make_environ()
            length = int(environ.get("CONTENT_LENGTH") or 0)
            chunked = environ.get("wsgi.input_terminated")
            body = environ["wsgi.input"].read() if chunked else self.rfile.read(length)
            if not chunked and len(body) < length:  # the client left
                self.close_connection = True
                return
            answer = double.answer(environ, body)
            self.close_connection |= answer.arrives < 1
            if answer.arrives == 0:
                return
            bodiless = self.command == "HEAD" or answer.status in (204, 304)
            self.send_response(answer.status)
            for name, value in answer.headers:
                if name.lower() not in ("connection", "date", "server") and (
                    bodiless or name.lower() != "content-length"
                ):
                    self.send_header(name, value)
            if not bodiless:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if not bodiless:
                self.wfile.write(answer.body[: int(len(answer.body) * answer.arrives)])

        def log(self, type: str, message: str, *args: object) -> None:
            """Print nothing, as requests are counted."""

    server = make_server("127.0.0.1", port, double.app, threaded=True, request_handler=Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"serving on http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.buffer.read()
    os._exit(0)  # threads may still handle a request


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    serve(parser.parse_args().port, Double())
