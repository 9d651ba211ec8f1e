"""Google Cloud Storage, as much of it as TensorFlow's gs:// asks for, out of a dict and on this machine.

TensorFlow's client knows Google's addresses only, but takes a proxy and metadata from the environment.
"""

import contextlib
import http.server
import itertools
import json
import os
import socket
import ssl
import subprocess
import threading
import urllib.parse

HOSTS = ("www.googleapis.com", "storage.googleapis.com")
BUCKETS = {"bucket": 200, "missing": 404, "forbidden": 403}


@contextlib.contextmanager
def served(folder):
    """Within it, gs://bucket is here for processes with the environment that it gives.

    Args:
      folder: for a metadata.

    Yields:
      (environment, {object's name: content, bytes}).
    """
    key, metadata = folder / "key.pem", folder / "metadata.pem"
    names = "subjectAltName=" + ",".join(f"DNS:{host}" for host in HOSTS)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-subj", f"/CN={HOSTS[0]}", "-addext", names,
                    "-keyout", key, "-out", metadata], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(metadata, key)
    storage = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Storage)
    storage.objects, storage.uploads, storage.generations, storage.numbers = {}, {}, {}, itertools.count(1)
    storage.socket = context.wrap_socket(storage.socket, server_side=True, do_handshake_on_connect=False)
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    proxy.target = storage.server_address
    for server in (storage, proxy):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{proxy.server_address[1]}"
    environment = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    try:
        yield environment | {"https_proxy": address, "HTTPS_PROXY": address, "CURL_CA_BUNDLE": str(metadata),
                             "GOOGLE_AUTH_TOKEN_FOR_TESTING": "any"}, storage.objects
    finally:
        for server in (storage, proxy):
            server.shutdown()
            server.server_close()


class Proxy(http.server.BaseHTTPRequestHandler):
    """Leads every connection to the server's `target`."""

    def do_CONNECT(self):
        with socket.create_connection(self.server.target) as there:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_pass_on, args=(there, self.connection), daemon=True)
            back.start()
            _pass_on(self.connection, there)
            back.join()
        self.close_connection = True

    def log_message(self, *parts):
        pass


def _pass_on(source, target) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(1 << 16):
            target.sendall(part)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class Storage(http.server.BaseHTTPRequestHandler):
    """cloud.google.com/storage/docs/json_api: objects' metadata, lists, contents, uploads, copies, deletion."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        content = self.body()
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        parts = [urllib.parse.unquote(part) for part in url.path.split("/")[1:]]
        if "upload_id" in query:
            return self.store(self.server.uploads.pop(query["upload_id"]), content)
        if parts[:2] == ["storage", "v1"]:
            return self.manage(parts[3], parts[5:], query)
        if parts[0] == "upload":
            if BUCKETS[parts[4]] != 200:
                return self.send(BUCKETS[parts[4]])
            if query["uploadType"] == "media":
                return self.store(query["name"], content)
            number = str(next(self.server.numbers))
            self.server.uploads[number] = query["name"]
            return self.send(200, Location=f"https://{HOSTS[0]}/upload?upload_id={number}")
        found = self.server.objects.get("/".join(parts[1:]))
        if found is None or "Range" not in self.headers:
            return self.send(404 if found is None else 200, found or b"")
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        return self.send(416) if first >= len(found) else self.send(206, found[first:last + 1])

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def manage(self, bucket, rest, query):
        """What is asked of a bucket (`rest` empty), of a list of objects ([]) or of an object ([name, …])."""
        objects, listing = self.server.objects, "prefix" in query
        if BUCKETS[bucket] != 200 or rest and rest[0] not in objects:
            return self.send(404 if BUCKETS[bucket] == 200 else BUCKETS[bucket])
        if not rest:
            names = [name for name in sorted(objects) if listing and name.startswith(query["prefix"])]
            ends = {name: name.find("/", len(query["prefix"])) if "delimiter" in query else -1 for name in names}
            return self.send_json({"items": [{"name": name} for name in names if ends[name] < 0],
                                   "prefixes": sorted({name[:end + 1] for name, end in ends.items() if end >= 0})})
        if self.command == "DELETE":
            del objects[rest[0]]
            return self.send(204)
        if rest[1:2] == ["rewriteTo"]:
            self.store(rest[-1], objects[rest[0]], answered=False)
            return self.send_json({"done": True})
        return self.describe(rest[0])

    def store(self, name, content, answered=True):
        """Keeps an object; its generation is new, or the client would go on with what it has read of it before."""
        self.server.generations[name] = next(self.server.numbers)
        self.server.objects[name] = content
        return self.describe(name) if answered else None

    def describe(self, name):
        return self.send_json({"name": name, "size": str(len(self.server.objects[name])),
                               "generation": str(self.server.generations[name]), "updated": "2026-01-01T00:00:00.000Z"})

    def send_json(self, value):
        return self.send(200, json.dumps(value).encode())

    def send(self, code, content=b"", **headers):
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *parts):
        pass
